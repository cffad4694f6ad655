from __future__ import annotations

import json

import pytest

from depcli.cli import main
from depcli.embedders import minilm

pytestmark = pytest.mark.skipif(not minilm.installed(), reason="the minilm extra is not installed")
HABITS = ("Well, {} it was, dear reader!", "i saw {}. it is ok. would see again", "A TRIUMPH: {} -- what a film, what a cast!!!")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signal")
    reviews = [
        {"user_id": f"u{u}", "asin": f"i{n}", "text": HABITS[u % 3].format(f"film {n} ({u})"), "timestamp": 1000 + n}
        for u in range(6)
        for n in range(5)
    ]
    (folder / "reviews.jsonl").write_text("\n".join(map(json.dumps, reviews)))
    profiles = str(folder / "profiles")
    assert main(["ingest", str(folder / "reviews.jsonl"), "--embedder", "minilm", "--profiles", profiles, "--quiet"]) == 0
    return profiles


def told(place, capsys, *options: str):
    capsys.readouterr()
    assert main(["signal", "--profiles", place, *options]) == 0
    return capsys.readouterr()


def test_a_table_and_a_document(place, capsys):
    document = json.loads(told(place, capsys, "--json").out)
    assert document["users"] == 6 and document["min_peers"] == 1 and document["as_of"] is None
    (found,) = document["embedders"]
    assert (found["name"], found["embedded"], found["dimension"]) == ("minilm", 0, 384)
    assert [row["k"] for row in found["diff"]["last"]] == [1, 2, 4, 8, "all"]
    out, err = told(place, capsys)
    lines = out.splitlines()
    assert lines[0].split() == ["embedder", "of", "K", "users", "AUC", "95%", "same", "item", "95%", "top-1", "chance"]
    assert lines[11] == "" and [line.partition(":")[0] for line in lines[12:-1]] == ["of", "K", "AUC", "same item", "top-1"]
    assert lines[-1] == "few users (6): intervals are rough"
    assert err == "" and f"{found['his']['last'][0]['auc']:.3f}" in lines[1]


def test_limits_of_users_peers_and_time(place, capsys):
    assert json.loads(told(place, capsys, "--json", "--limit", "4").out)["embedders"][0]["his"]["users"] == 4
    few = json.loads(told(place, capsys, "--json", "--min-peers", "6").out)["embedders"][0]["diff"]
    assert few["users"] == 0 and few["last"][0]["auc"] is None
    assert "-" in told(place, capsys, "--min-peers", "6").out.splitlines()[10].split()
    then = told(place, capsys, "--json", "--as-of", "1003")
    assert json.loads(then.out)["as_of"] == 1003 and "as of 1970-01-01 00:16:43 UTC" in then.err
    assert main(["signal", "--profiles", place, "--as-of", "1002"]) == 5
    assert "four reviews or more" in capsys.readouterr().err


def test_an_embedder_that_is_not_there(place, capsys):
    assert main(["signal", "--profiles", place, "--embedder", "no-such"]) == 3
    assert "known: " in capsys.readouterr().err
    assert main(["signal", "--profiles", place, "--embedder", "bge-m3", "--offline"]) == 6


def test_embedders_side_by_side(place, capsys):
    found = told(place, capsys, "--json", "--embedder", "minilm", "--embedder", "minilm+style")
    stored, anew = json.loads(found.out)["embedders"]
    assert (stored["name"], stored["embedded"], anew["name"], anew["embedded"]) == ("minilm", 0, "minilm+style", 30)
    assert "embedding up to 30 texts with minilm+style" in found.err and "not kept" in found.err
    assert json.loads(told(place, capsys, "--json").out)["embedders"] == [stored]
