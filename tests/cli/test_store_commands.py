"""show, log, status, backup and path as a person and as a program see them; nothing here needs an embedder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

import pytest
from rich.cells import cell_len

from depcli.adapters import files as adapter_files
from depcli.cli import main
from depcli.cli.commands.train import _show as show_trained
from depcli.cli.sink import Sink
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.backup import backup
from depcli.training.place import alone
from tests.store.made import IDENTITY, contents, some_reviews, upsert

NASTY = "a\x1b[2J [b]bold[/b] \u202eturned\u2028" + "漢" * 300 + " word" * 2000
USER = "o'neil\" OR 1=1 \x1b]0;x\x07 漢字"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("commands") / "profiles", IDENTITY)
    upsert(store, some_reviews(), [Item("item1", NASTY, NASTY), Item("item2", "Two")])
    many = [Review(USER, f"item{i}", f"{i} {NASTY}", 2.5, NASTY, 1e9 + i) for i in range(30)]
    upsert(store, many, source="/a/very/long/way/to/a/file/that/does/not/fit/into/eighty/columns/reviews.jsonl.gz")
    return str(store.path)


def told(capsys, *arguments: str):
    """(stdout, stderr) of a command that succeeds."""
    capsys.readouterr()
    assert main([*arguments]) == 0
    return capsys.readouterr()


def fits(text: str) -> bool:
    return all(cell_len(line) <= 80 for line in text.splitlines())


def test_a_user_is_shown_80_wide_with_differences_beside_peers(profiles, capsys):
    out = told(capsys, "show", "--user", USER, "--profiles", profiles).out
    assert fits(out) and "30 reviews; 2001-09-09; mean rating 2.50" in out and "(the newest 20 of 30)" in out
    assert out.count("the nearest peer") == 3 == out.count("the farthest peer") and "\\x1b[2J [b]bold[/b] \\u202eturned" in out
    assert not {"\x1b", "\x07", "\u202e", "\u2028"} & set(out)
    short = told(capsys, "show", "--user", USER, "--profiles", profiles, "--limit", "0", "--most", "1").out
    assert "History" not in short and short.count("the nearest peer") == 1 and "more unusual than" in short


def test_json_has_everything_and_vectors_on_request(profiles, capsys):
    ask = ["show", "--user", USER, "--profiles", profiles, "--json", "--limit", "1"]
    document = json.loads(told(capsys, *ask).out)
    assert document["user_id"] == USER and len(document["history"]) == 30 and document["history"][3]["text"] == f"3 {NASTY}"
    assert "vector" not in document["history"][0]
    assert len(json.loads(told(capsys, *ask, "--vectors").out)["history"][0]["vector"]) == IDENTITY.dimension
    assert main(["show", "--user", USER, "--profiles", profiles, "--vectors"]) == 2


def test_an_item_is_shown_80_wide(profiles, capsys):
    out = told(capsys, "show", "--item", "item1", "--profiles", profiles).out
    assert fits(out) and "Ratings" in out and "Most like the others" in out and "Least like the others" in out
    lines = out.splitlines()
    counts = [int(line.split()[-1]) for line in lines[lines.index("Ratings") + 1 :][:6] if line]
    assert sum(counts) == json.loads(told(capsys, "show", "--item", "item1", "--profiles", profiles, "--json").out)["reviews"]
    alone = told(capsys, "show", "--item", "item29", "--profiles", profiles).out
    assert alone.startswith("item29\n1 review; 2001-09-09") and "like the others" not in alone


def test_show_lists_everybody_and_everything(profiles, capsys):
    document = json.loads(told(capsys, "show", "--profiles", profiles, "--limit", "1", "--json").out)
    reviews = list(Store.open(profiles).snapshot().all_reviews())
    for part, key, of in (("users", "user_id", "user_id"), ("items", "asin", "asin")):
        wanted = Counter(getattr(review, of) for review in reviews)
        assert {entry[key]: entry["reviews"] for entry in document[part] if entry["reviews"]} == wanted
        assert [-entry["reviews"] for entry in document[part]] == sorted(-entry["reviews"] for entry in document[part])
    out = told(capsys, "show", "--profiles", profiles, "--limit", "2").out
    assert f"Users (2 of {len(document['users'])}, those with the most reviews)" in out
    assert document["users"][1]["user_id"] in out and document["users"][2]["user_id"] not in out
    assert max(map(len, out.splitlines())) <= 80


def test_show_wants_one_of_both_and_says_who_is_not_there(profiles, capsys):
    for options in (["--vectors", "--json"], ["--user", "a", "--item", "b"]):
        assert main(["show", *options, "--profiles", profiles]) == 2
    for options in (["--user", "nobody"], ["--item", "nothing"]):
        assert main(["show", *options, "--profiles", profiles]) == 3
        assert "ids are case-sensitive" in capsys.readouterr().err


def test_log_and_status_fit_and_say_what_is_gone(profiles, capsys, tmp_path):
    backup(Store.open(profiles), tmp_path / "copy")
    store = Store.open(tmp_path / "copy")
    out = told(capsys, "log", "--profiles", str(store.path)).out
    assert (
        fits(out)
        and out.splitlines()[1].split()[0] == "2"
        and "ingest: 30 added; reviews.jsonl.gz" in out
        and "(gone)" not in out
    )
    limited = told(capsys, "log", "--profiles", str(store.path), "--limit", "1")
    assert len(limited.out.splitlines()) == 2 and "2 older commits: --all" in limited.err
    everything = told(capsys, "log", "--profiles", str(store.path), "--limit", "1", "--all")
    assert len(everything.out.splitlines()) == 4 and "older" not in everything.err
    with store.writer() as writer:
        erase.forget(writer.tables, ["user1"], [])
    out = told(capsys, "log", "--profiles", str(store.path)).out
    assert out.count("(gone)") == 3 and "reviews removed" in out and "user1" not in out
    document = json.loads(told(capsys, "log", "--profiles", str(store.path), "--json").out)
    assert [commit["readable"] for commit in document["commits"]] == [False, False, False, True]
    assert [commit["number"] for commit in document["commits"]] == [0, 1, 2, 3]
    out = told(capsys, "status", "--profiles", str(store.path)).out
    assert "Last commits (of 4, 1 readable)" in out and "on disk: " in out
    status = json.loads(told(capsys, "status", "--profiles", str(store.path), "--json").out)["store"]
    assert sum(status["tables"].values()) <= status["bytes"] and status["readable_commits"] == 1
    assert "kept" not in out
    states = tmp_path / "copy" / "cache" / "states"
    states.mkdir(parents=True)
    (states / "a-b.state").write_bytes(bytes(3000))
    assert "kept states 3.0 KB" in " ".join(told(capsys, "status", "--profiles", str(store.path)).out.split())
    assert main(["status", "--profiles", str(store.path), "--at", "1"]) == 3
    assert "dep log" in capsys.readouterr().err


def test_an_adapter_without_its_weights_is_not_listed_as_if_it_were_whole(tmp_path, capsys):
    store = Store.create(tmp_path / "profiles", IDENTITY)
    folder = adapter_files.folder_of(store.path, "worn")
    folder.mkdir(parents=True)
    needed = {name: "" if inside is None else dict.fromkeys(inside, "") for name, inside in adapter_files._NEEDED.items()}
    config = {"format": 1, "type": "dep", "backbone": {**needed["backbone"], "name": "mini"}, "embedder": asdict(IDENTITY)}
    (folder / adapter_files.CONFIG).write_text(json.dumps(needed | config))

    def problem() -> str | None:
        (adapter,) = json.loads(told(capsys, "status", "--profiles", store.path, "--json").out)["adapters"]
        return adapter.get("problem")

    assert "adapter_model.safetensors is gone" in problem() and "dep train --replace --adapter worn" in problem()
    assert "worn: adapter_model.safetensors is gone" in told(capsys, "status", "--profiles", store.path).out
    (folder / adapter_files.WEIGHTS).write_bytes(b"")
    assert problem() is None


def test_a_training_is_under_way_or_unfinished(tmp_path, capsys):
    store = Store.create(tmp_path / "profiles", IDENTITY)
    (store.path / "adapters" / "half" / adapter_files.CHECKPOINTS).mkdir(parents=True)

    @alone
    def train(*, folder) -> str:
        return told(capsys, "status", "--profiles", store.path).out

    said = train(folder=store.path / "adapters" / "half")
    assert "under way: half" in said and "unfinished" not in said
    said = told(capsys, "status", "--profiles", store.path).out
    assert "unfinished: half (dep train --adapter half --resume goes on, or --replace begins again)" in said


def test_before_any_training_an_evaluation_names_the_methods_that_need_none(profiles, capsys):
    assert main(["eval", "--profiles", profiles]) == 3
    assert f"dep train --profiles {profiles}; --methods nonperso,rag needs none" in capsys.readouterr().err
    assert main(["write", "--user", USER, "--item", "item1", "--profiles", profiles]) == 3
    assert "--methods" not in capsys.readouterr().err


def test_one_review_learned_is_no_plural(capsys):
    show_trained(
        Sink(),
        {
            "adapter": "a",
            "method": "dep",
            "folder": "f",
            "parameters": 9,
            "train_reviews": 1,
            "validation_reviews": 1,
            "seconds": 2.0,
            "validation_losses": {"dep": 3.0},
            "config": {"minus": {}, "epochs": 1},
        },
    )
    out = capsys.readouterr().out
    assert "1 review learned in 2 s\n" in out and "of 1 validation review, lower" in out


@pytest.mark.parametrize(
    ("nonperso", "rag", "users", "reviews", "said", "caution"),
    [
        (-0.1, 0.0, 40, 40, "better than rag:", None),
        (0.2, 0.1, 40, 40, "nonperso or rag:", None),
        (-0.2, -0.1, 40, 80, "", None),
        (-0.2, -0.1, 3, 4, "", "few users (3): intervals are too narrow"),
        (-0.2, 0.1, 1, 40, "rag: the interval", "over the 40 reviews"),
        (0.3, -0.1, 40, 40, "worse than nonperso:", None),
        (None, None, 1, 1, "nonperso or rag: of one review", "one review: no interval"),
    ],
)
def test_an_adapter_that_is_not_shown_to_be_better_is_said_to_be_so(capsys, nonperso, rag, users, reviews, said, caution):
    highs = {"nonperso": nonperso, "rag": rag}
    gains = {
        name: {"difference": -0.1, "low": None if high is None else high - 0.2, "high": high} for name, high in highs.items()
    }
    document = {
        "adapter": "a",
        "method": "dep",
        "folder": "f",
        "parameters": 9,
        "train_reviews": 4,
        "validation_reviews": reviews,
        "seconds": 2.0,
        "validation_losses": {"nonperso": 3.0, "rag": 3.0, "dep": 3.0},
        "config": {"minus": gains, "validation_users": users},
    }
    for epochs in (1, 2):
        document["config"]["epochs"] = epochs
        show_trained(Sink(), document)
        err = capsys.readouterr().err
        assert said in err and ("not shown" in err) == (bool(said) and "worse" not in said)
        assert caution in err if caution else not any(word in err for word in ("few users", "one user", "one review"))
        assert ("its epoch was chosen on these reviews" in err) == (epochs > 1)


def test_one_of_a_thing_is_not_said_in_the_plural(capsys, tmp_path):
    store = Store.create(tmp_path / "profiles", IDENTITY)
    upsert(store, [Review("u", "i", "x")], [Item("i", "One")])
    said = told(capsys, "log", "--profiles", str(store.path)).out
    assert "1 added, 1 item" in said and "1 items" not in said
    assert main(["forget", "--user", "u", "--yes", "--profiles", str(store.path)]) == 0
    said = capsys.readouterr().out + told(capsys, "log", "--profiles", str(store.path)).out
    assert "1 review," in said and "1 review removed" in said and "1 reviews" not in said
    assert (
        told(capsys, "compact", "--keep", "0", "--profiles", str(store.path)).out.count("0 earlier commits dropped, 1 can") == 1
    )


def test_forgotten_once_more_is_not_found(capsys, tmp_path):
    """A name that is misspelt must not look like one that was erased."""
    store = Store.create(tmp_path / "profiles", IDENTITY)
    upsert(store, [Review("u", "i", "x"), Review("v", "i", "y")])
    forget = ["forget", "--user", "u", "--yes", "--profiles", str(store.path)]
    assert main(forget) == 0
    number = store.log()[-1].number
    capsys.readouterr()
    assert main(forget) == 3 and "erased before, or never there" in capsys.readouterr().err
    assert store.log()[-1].number == number


@pytest.mark.parametrize("command", [["path"], ["ingest", "reviews.jsonl"], ["status"]])
def test_a_folder_without_a_name_is_refused(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.jsonl").write_text('{"user_id": "u", "asin": "i", "text": "x"}')
    assert main([*command, "--profiles", ""]) == 2
    assert "an empty name is no folder" in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reviews.jsonl"]


def test_backup_says_what_it_holds_and_overwrites_nothing(profiles, capsys, tmp_path):
    ask = ["backup", str(tmp_path / "copy"), "--profiles", profiles]
    document = json.loads(told(capsys, *ask, "--json").out)
    store = Store.open(profiles)
    assert (document["store_commit"], document["store"]) == (store.log()[-1].id, store.snapshot().counts())
    assert contents(Store.open(tmp_path / "copy").snapshot()) == contents(store.snapshot())
    assert main(ask) == 1
    assert "overwrites nothing" in capsys.readouterr().err


def test_path_prints_the_folder_and_nothing_else(capsys, tmp_path, monkeypatch):
    assert told(capsys, "path", "--profiles", str(tmp_path)) == (f"{tmp_path}\n", "")
    monkeypatch.setenv("DEP_PROFILES", str(tmp_path / "not there"))
    assert told(capsys, "path") == (f"{tmp_path}/not there\n", "")
    monkeypatch.delenv("DEP_PROFILES")
    monkeypatch.chdir(tmp_path)
    assert json.loads(told(capsys, "path", "--json").out) == {"profiles": f"{tmp_path}/profiles"}
