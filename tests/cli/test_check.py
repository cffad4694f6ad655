"""`dep check` as a shell sees it."""

from __future__ import annotations

import json
import shutil

import pytest

from depcli.cli import main
from depcli.records import Review
from depcli.store import Store
from tests.store.damage import DAMAGES, commit_as_it_is, fill, table_of
from tests.store.made import IDENTITY, contents, upsert


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "profiles", IDENTITY)
    fill(store)
    return store


def damaged(store, what: str) -> None:
    DAMAGES[what][0](store)
    commit_as_it_is(store)


def test_a_sound_store(store, capsys):
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert "item sums             9      0" in out and "repaired" not in out and err == ""
    assert main(["check", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and document["findings"] == [] and document["repaired"] == {} and document["checked"]["reviews"] == 72


def test_damage_is_said_and_mended(store, capsys):
    damaged(store, "a sum is off")
    assert main(["check"]) == 1
    out, err = capsys.readouterr()
    assert "item sums: 1 not the sum of the reviews' vectors" in out and "\n  item item1: 8 reviews in the sum, 8 found" in out
    assert err == "dep check --repair mends what can be computed again\n"
    assert main(["check", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["what"], finding["count"], finding["remedy"]) == ("item sums", 1, "")
    assert main(["check", "--repair", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and document["repaired"] == {"item sums": 1} and document["findings"] == []
    assert store.log()[-1].action == "repair"
    assert main(["check", "--repair"]) == 0
    assert "repaired" not in capsys.readouterr().out


def test_an_id_cannot_pass_for_lines_of_the_report(store, capsys):
    review = Review("user\nnote: nothing is wrong", "item " + "x" * 500, "text")
    upsert(store, [review])
    table_of(store, "reviews").update("text = 'text'", {"text": "other"})
    commit_as_it_is(store)
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  user user note: nothing is wrong, item item" in lines
    assert not any(line.startswith("note: nothing") for line in lines) and max(map(len, lines[1:])) <= 80


def test_the_table_says_what_was_repaired(store, capsys):
    damaged(store, "a key is wrong")
    assert main(["check", "--repair"]) == 0
    table = [line.split()[-3:] for line in capsys.readouterr().out.splitlines()]
    assert table[1] == ["checked", "wrong", "repaired"] and table[4] == ["72", "0", "1"]


def test_vectors_need_the_embedder_of_the_store(store, capsys):
    damaged(store, "a vector of zeros")
    number = store.log()[-1].number
    assert main(["check", "--repair"]) == 3
    assert "no embedder 'made'" in capsys.readouterr().err
    assert store.log()[-1].number == number


def test_a_missing_index_is_said_and_is_no_failure(store, capsys):
    table_of(store, "reviews").drop_index("user_id_idx")
    commit_as_it_is(store)
    assert main(["check"]) == 0
    said = capsys.readouterr()
    assert "has no index on user_id" in said.out and "--repair" in said.err
    assert main(["check", "--repair"]) == 0
    capsys.readouterr()
    assert main(["check"]) == 0 and "no index" not in capsys.readouterr().out


def test_item_sums_that_are_gone_are_made_anew(store, capsys):
    before = contents(store.snapshot())
    shutil.rmtree(store.folder / "item_sums.lance")
    assert main(["check"]) == 1 and "--repair" in capsys.readouterr().out
    assert main(["status"]) == 1 and "--repair" in capsys.readouterr().err
    assert main(["check", "--repair"]) == 0
    said = capsys.readouterr()
    assert "commits before this one cannot be read any more" in said.err
    assert contents(Store.open(store.path).snapshot()) == before and main(["check"]) == 0


def test_what_cannot_be_mended_has_a_remedy_and_stays_a_failure(store, capsys):
    for file in (store.folder / "items.lance" / "data").iterdir():
        file.write_bytes(b"noise")
    assert main(["check"]) == 1
    out, err = capsys.readouterr()
    assert "items: 1 cannot be read" in out and "\n  restore a backup" in out and err == ""


def test_a_folder_without_a_store(tmp_path, capsys):
    assert main(["check", "--profiles", str(tmp_path / "none")]) == 3
    assert "dep ingest" in capsys.readouterr().err


def cut_newest_version(store, name: str, keep: float) -> None:
    manifest = min((store.folder / f"{name}.lance" / "_versions").glob("*.manifest"))
    manifest.write_bytes(manifest.read_bytes()[: int(keep * manifest.stat().st_size)])


@pytest.mark.parametrize("keep", [0.0, 0.5])
@pytest.mark.parametrize("name", ["reviews", "item_sums", "items"])
def test_a_power_cut_in_the_middle_of_a_write(store, capsys, name, keep):
    """A new version of a table, not committed yet, whose file never reached the disk."""
    before = contents(store.snapshot())
    table_of(store, name).delete("true")
    cut_newest_version(store, name, keep)
    assert main(["check"]) == 1
    assert "--repair" in (said := capsys.readouterr()).out + said.err
    assert main(["check", "--repair"]) == 0
    assert "given up" in capsys.readouterr().err
    assert contents(Store.open(store.path).snapshot()) == before
    assert main(["check"]) == 0


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_power_cut_in_the_middle_of_a_commit(store, capsys, keep):
    before = contents(store.snapshot())
    upsert(store, [Review("late", "item1", "the last words")])
    after = contents(store.snapshot())
    cut_newest_version(store, "commits", keep)
    assert main(["status"]) == 1 and "--repair" in capsys.readouterr().err
    assert main(["check", "--repair"]) == 0
    mended = Store.open(store.path)
    assert contents(mended.snapshot()) == before
    upsert(mended, [Review("late", "item1", "the last words")])
    assert contents(mended.snapshot()) == after and main(["check"]) == 0
