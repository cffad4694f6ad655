"""--at shows the older state, in every command that reads."""

from __future__ import annotations

import json
import shutil

import pytest

from depcli.cli import main
from depcli.embedders import minilm
from depcli.store import Store

pytestmark = pytest.mark.skipif(not minilm.installed(), reason="the minilm extra is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory, compact_backbone):
    """(profiles folder, backbone folder, id of the commit before the users wrote again)."""
    folder = tmp_path_factory.mktemp("at")
    profiles = str(folder / "profiles")
    for name, numbers in (("early", range(4)), ("late", range(4, 6))):
        reviews = [
            {"user_id": user, "asin": f"i{n}", "text": f"{user} wrote {name} about {n}.", "timestamp": 100 + n}
            for user in ("ann", "bea", "cy")
            for n in numbers
        ]
        (folder / name).write_text("\n".join(map(json.dumps, reviews)))
        assert main(["ingest", str(folder / name), "--embedder", "minilm", "--profiles", profiles, "--quiet"]) == 0
    then, now = (commit for commit in Store.open(profiles).log() if commit.action == "ingest")
    return profiles, str(compact_backbone), then


def told(place, capsys, *arguments: str) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json", "--profiles", place[0]]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("by", ["id", "number"])
def test_status_show_and_export(place, capsys, tmp_path, by):
    at = ["--at", str(getattr(place[2], by))]
    assert told(place, capsys, "status")["store"]["reviews"] == 18
    status = told(place, capsys, "status", *at)["store"]
    assert status["reviews"] == 12 and status["items"] == 4 and status["commits"][-1]["id"] == place[2].id
    user = told(place, capsys, "show", "--user", "ann", *at)
    assert [past["asin"] for past in user["history"]] == ["i0", "i1", "i2", "i3"] and user["store_commit"] == place[2].id
    assert main(["show", "--item", "i5", "--profiles", place[0], *at]) == 3
    assert told(place, capsys, "show", "--item", "i5")["reviews"] == 3
    file = tmp_path / "out.jsonl"
    assert told(place, capsys, "export", str(file), *at)["reviews"] == 12
    assert told(place, capsys, "signal", *at)["store_commit"] == place[2].id != told(place, capsys, "signal")["store_commit"]
    assert "late" not in file.read_text() and file.read_text().count("early") == 12


def test_write_eval_and_train(place, capsys, tmp_path):
    profiles, tiny, then = place
    ask = [
        "write",
        "--user",
        "ann",
        "--item",
        "i1",
        "--method",
        "rag",
        "--backbone",
        tiny,
        "--max-new-tokens",
        "4",
        "--show-prompt",
    ]
    assert "late" in told(place, capsys, *ask)["prompt"]
    written = told(place, capsys, *ask, "--at", then.id)
    assert "late" not in written["prompt"] and "early about 3" in written["prompt"] and written["store_commit"] == then.id
    ask = ["eval", "--methods", "nonperso", "--backbone", tiny, "--max-new-tokens", "4", "--at", str(then.number)]
    evaluated = told(place, capsys, *ask, "--out", str(tmp_path / "out"))
    assert evaluated["settings"]["store_commit"] == then.id
    ask = ["train", "--backbone", tiny, "--epochs", "1", "--adapter", "old", "--device", "cpu", "--at", then.id]
    assert told(place, capsys, *ask)["config"]["store_commit"] == then.id
    ask = ["eval", "--adapter", "old", "--backbone", tiny, "--at", "2", "--out", str(tmp_path / "other")]
    assert main([*ask, "--profiles", profiles]) == 1
    assert "another split" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["export"],
        ["show", "--user", "ann"],
        ["write", "--user", "ann", "--item", "i1", "--method", "rag"],
        ["eval", "--methods", "rag"],
        ["signal"],
        ["train", "--adapter", "new"],
    ],
)
def test_a_commit_that_never_was(place, capsys, arguments):
    backbone = ["--backbone", place[1]] if arguments[0] in ("write", "eval", "train") else []
    assert main([*arguments, *backbone, "--at", "nothing", "--profiles", place[0]]) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and "no commit nothing" in captured.err


def test_an_adapter_whose_commit_is_gone_says_how_to_be_measured_again(place, capsys, tmp_path):
    profiles = str(tmp_path / "profiles")
    shutil.copytree(place[0], profiles)
    ask = ["--backbone", place[1], "--profiles", profiles, "--quiet"]
    assert main(["train", *ask, "--adapter", "before", "--epochs", "1", "--device", "cpu"]) == 0
    assert main(["forget", "--user", "cy", "--yes", "--profiles", profiles]) == 0
    capsys.readouterr()
    assert main(["eval", *ask, "--adapter", "before", "--max-new-tokens", "4"]) == 3
    err = capsys.readouterr().err
    assert "before was trained on a state of the store that is gone" in err
    assert "dep train --replace --adapter before" in err
