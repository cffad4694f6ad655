"""Stores that do not open: cut manifests anywhere, commits that nobody can read, item sums that are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from depcli.errors import DepError, NotFound
from depcli.store import Store
from depcli.store.disk.whole import version_of
from depcli.store.upkeep.backup import backup
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.upkeep.rescue import Rescued
from tests.store.damage import table_of
from tests.store.made import contents, some_reviews, upsert, worst_difference


def manifests(store, name: str) -> list[Path]:
    """Oldest first."""
    return sorted((store.folder / f"{name}.lance" / "_versions").glob("*.manifest"), key=version_of)


def test_a_sound_store_is_left_alone(filled):
    files = {path: path.read_bytes() for path in filled.folder.rglob("*") if path.is_file() and path.name != "write.lock"}
    assert Store.rescue(filled.path) == Rescued(0, False)
    assert files == {path: path.read_bytes() for path in filled.folder.rglob("*") if path.is_file() and path.name != "write.lock"}


def test_there_is_nothing_to_rescue_where_there_is_no_store(tmp_path):
    assert Store.rescue(tmp_path / "none") == Rescued(0, False)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_old_manifest_of_the_commits_that_is_cut(filled, at):
    before = contents(filled.snapshot())
    manifests(filled, "commits")[at].write_bytes(b"")
    assert "--repair" in check(filled).findings[0].remedy
    assert Store.rescue(filled.path) == Rescued(1, False)
    store = Store.open(filled.path)
    assert check(store).ok and contents(store.snapshot()) == before
    with store.writer() as writer:
        compact(writer.tables, keep_days=0)


def test_an_old_manifest_of_the_reviews_that_is_cut_costs_the_commits_that_need_it(filled):
    before = contents(filled.snapshot())
    needed = filled.log()[1].versions["reviews"]
    next(path for path in manifests(filled, "reviews") if version_of(path) == needed).write_bytes(b"")
    assert Store.rescue(filled.path) == Rescued(1, False)
    store = Store.open(filled.path)
    assert [finding.what for finding in check(store).findings] == ["table versions"]
    with store.writer() as writer:  # which the finding names as the remedy
        compact(writer.tables, keep_days=0)
    assert check(store).ok and contents(store.snapshot()) == before


@pytest.mark.parametrize("damage", ["missing", "empty", "no head", "manifest cut"])
def test_item_sums_that_are_gone_are_made_anew(filled, damage):
    before, log = contents(filled.snapshot()), filled.log()
    table_of(filled, "reviews").delete("user_id = 'user1'")  # by a writer that was killed: not committed
    folder = filled.folder / "item_sums.lance"
    if damage == "missing":
        shutil.rmtree(folder)
    elif damage == "empty":
        shutil.rmtree(folder)
        (folder / "_versions").mkdir(parents=True)
    elif damage == "no head":
        manifests(filled, "item_sums")[-1].unlink()
    else:
        manifests(filled, "item_sums")[-1].write_bytes(b"LA")
    with pytest.raises(DepError, match="damaged|cannot be read"), filled.writer():
        pass
    assert any("--repair" in finding.remedy for finding in check(filled).findings)
    assert Store.rescue(filled.path).sums
    store = Store.open(filled.path)
    head = store.log()[-1]
    assert (head.number, head.action, head.counts) == (
        log[-1].number + 1,
        "repair",
        {"item_sums": 1, "commits_dropped": len(log)},
    )
    assert contents(store.snapshot()) == before and check(store).ok and worst_difference(store.snapshot()) < 1e-12
    with pytest.raises(NotFound, match="cannot be read any more"):
        store.snapshot("1")
    assert Store.rescue(filled.path) == Rescued(0, False)
    upsert(store, some_reviews(users=20))
    with store.writer() as writer:
        writer.tidy(force=True)
        compact(writer.tables)
    assert check(store).ok and worst_difference(store.snapshot()) < 1e-12


def test_a_rescue_that_was_killed_before_its_commit_is_done_again(filled):
    before = contents(filled.snapshot())
    shutil.rmtree(filled.folder / "item_sums.lance")
    Store.rescue(filled.path)
    newest = manifests(filled, "commits")[-1]
    newest.unlink()  # as if its commit had not been made
    (newest.parent / "latest_version_hint.json").unlink()
    assert Store.rescue(filled.path).sums
    assert contents(Store.open(filled.path).snapshot()) == before and check(Store.open(filled.path)).ok


def test_many_unreadable_commits_are_not_given_up(filled):
    """A power cut leaves the newest few at most: this is something else, and a backup has more."""
    for number in range(12):
        upsert(filled, some_reviews(users=13 + number))
    there = manifests(filled, "commits")
    for file in (filled.folder / "commits.lance" / "data").iterdir():
        file.write_bytes(b"noise")
    with pytest.raises(DepError, match="damaged"):
        Store.rescue(filled.path)
    assert manifests(filled, "commits") == there


def test_a_backup_of_a_damaged_store_says_how_to_look_at_it(filled, tmp_path):
    for file in (filled.folder / "reviews.lance" / "data").iterdir():
        file.unlink()
    with pytest.raises(DepError) as caught:
        backup(filled, tmp_path / "copy")
    assert "dep check" in caught.value.hint and not (tmp_path / "copy").exists()
