"""Compaction gives space back and takes nothing that a recent commit, or one that is in use, still needs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from depcli.errors import NotFound
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.writing.ingest import ingest
from tests.store.aged import TABLES, make_older, tables_of
from tests.store.made import MadeEmbedder, contents, some_reviews, upsert, worst_difference


def versions(store) -> dict[str, list[int]]:
    return {name: [version["version"] for version in table.list_versions()] for name, table in tables_of(store).items()}


def compacted(store, **options):
    with store.writer() as writer:
        return compact(writer.tables, **options)


def unreadable(store) -> list[int]:
    gone = []
    for commit in store.log():
        try:
            store.snapshot(commit.id).counts()
        except NotFound:
            gone.append(commit.number)
        assert (commit.number in gone) != store.readable(commit)
    return gone


def test_what_a_recent_commit_needs_stays_however_old_it_is(store):
    make_older(store, 1)
    upsert(store, some_reviews()[:10], [Item("item1", "described last year")])
    make_older(store, 300)
    upsert(store, some_reviews()[10:20])
    upsert(store, some_reviews()[20:30])
    make_older(store, 30)
    upsert(store, some_reviews()[30:40])
    make_older(store, 2)
    upsert(store, some_reviews()[40:50])
    before = {commit.number: contents(store.snapshot(commit.id)) for commit in store.log()}
    held = versions(store)
    report = compacted(store)
    assert unreadable(store) == [0, 1, 2, 3] and (report.dropped, report.readable) == (4, 3)
    assert store.log()[-1].action == "compact" and len(store.log()) == 7
    assert contents(store.snapshot("4")) == before[4] and contents(store.snapshot("5")) == before[5]
    assert contents(store.snapshot()) == before[5]
    with pytest.raises(NotFound, match="commit 3 .* compacted away"):
        store.snapshot("3")
    left, needed = versions(store), store.log()[4].versions
    assert left["items"][0] == held["items"][-1] == needed["items"]  # of last year, and in use
    for name in ("reviews", "item_sums"):  # a commit may have taken several versions
        assert store.log()[3].versions[name] < left[name][0] <= needed[name]
    make_older(store, 5)
    assert compacted(store).dropped == 1 and unreadable(store) == [0, 1, 2, 3, 4]
    assert store.snapshot().items(["item1"])["item1"].title == "described last year"


def test_the_newest_commit_stays_and_nothing_to_do_is_no_commit(store):
    upsert(store, some_reviews())
    make_older(store, 400)
    before = contents(store.snapshot())
    compacted(store)
    make_older(store, 400)
    for days in (7, 7, 0, 0):
        number = store.log()[-1].number
        assert compacted(store, keep_days=days).dropped == 0 and store.log()[-1].number == number
        assert contents(store.snapshot()) == before
    assert unreadable(store) == [0, 1]


@pytest.mark.parametrize("days", [1e6, 1e300])
def test_more_days_than_a_calendar_has_keep_everything(store, days):
    upsert(store, some_reviews())
    assert compacted(store, keep_days=days).dropped == 0 and unreadable(store) == []


def test_checking_while_old_commits_are_dropped_finds_no_damage(store):
    class DroppedMeanwhile(Store):
        def log(self):
            log = super().log()
            if len(log) == 3:
                compacted(store)
            return log

    upsert(store, some_reviews()[:20])
    make_older(store, 300)
    upsert(store, some_reviews()[20:])
    assert check(DroppedMeanwhile.open(store.path)).ok and unreadable(store) == [0, 1]


def test_zero_days_keep_the_newest_commit_alone(store):
    for review in some_reviews()[:20]:
        upsert(store, [review], [Item("item1", review.text)])
    before = contents(store.snapshot())
    report = compacted(store, keep_days=0)
    assert contents(store.snapshot()) == before and worst_difference(store.snapshot()) < 1e-12
    assert unreadable(store) == list(range(21)) and (report.dropped, report.readable) == (21, 1)
    assert all(len(found) == 1 for found in versions(store).values())
    assert report.bytes_after < report.bytes_before / 5
    assert report.bytes_after == sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())


def test_recent_commits_all_stay(store):
    for review in some_reviews()[:5]:
        upsert(store, [review])
    before = [contents(store.snapshot(str(number))) for number in range(6)]
    assert compacted(store).dropped == 0 and unreadable(store) == []
    assert [contents(store.snapshot(str(number))) for number in range(6)] == before


def test_a_commit_in_use_stays_with_all_after_it(store):
    for review in some_reviews()[:4]:
        upsert(store, [review])
        make_older(store, 10)
    used = store.log()[2]
    before = contents(store.snapshot(used.id))
    assert compacted(store, needed={used.id}).dropped == 2 and unreadable(store) == [0, 1]
    assert contents(store.snapshot(used.id)) == before


def test_a_clock_that_went_backwards_takes_nothing(store):
    for review in some_reviews()[:3]:
        upsert(store, [review])
        make_older(store, -20)  # each is written twenty days "after" the next one
    make_older(store, 65)  # 5, 25, 45 days ago, in this order
    before = [contents(store.snapshot(str(number))) for number in range(4)]
    compacted(store)
    assert unreadable(store) == []
    assert [contents(store.snapshot(str(number))) for number in range(4)] == before


def test_a_clock_that_was_ahead_stops_nobody(store):
    for review in some_reviews()[:3]:
        upsert(store, [review])
    compacted(store)
    make_older(store, -20)
    before = [contents(store.snapshot(str(number))) for number in range(5)]
    assert compacted(store).dropped == 0  # dated later than now, so recent
    assert [contents(store.snapshot(str(number))) for number in range(5)] == before
    assert compacted(store, keep_days=0).readable == 1
    assert {name: len(found) for name, found in versions(store).items()} == dict.fromkeys((*TABLES, "commits"), 1)
    assert contents(store.snapshot()) == before[-1]


def test_bulk_ingest_drops_what_is_old_unless_it_is_in_use(store):
    bulk = [Review(f"user{n}", f"item{n % 50}", f"text {n}") for n in range(2000)]
    ingest(store, some_reviews(), MadeEmbedder(), source="first")
    make_older(store, 30)
    ingest(store, bulk[:999], MadeEmbedder(), source="little", in_use=())  # too little to tidy after it
    ingest(store, bulk[999:], MadeEmbedder(), source="bulk", in_use={store.log()[0].id})
    ingest(store, [replace(review, timestamp=1.0) for review in bulk], MadeEmbedder(), source="a library that says nothing")
    assert unreadable(store) == []
    ingest(store, [replace(review, timestamp=2.0) for review in bulk], MadeEmbedder(), source="bulk", in_use=())
    assert unreadable(store) == [0, 1]


def test_pieces_are_joined_and_every_row_is_indexed(store):
    reviews = some_reviews()
    upsert(store, reviews[:30])
    compacted(store)  # these are indexed, the next are not: LanceDB joins only their like in one pass
    for review in reviews[30:45]:
        upsert(store, [review])
    compacted(store, keep_days=0)
    for name, table in tables_of(store).items():
        assert table.stats()["fragment_stats"]["num_fragments"] == (0 if name == "items" else 1)
        assert all(index.num_unindexed_rows == 0 for index in table.list_indices())
    number = store.log()[-1].number
    compacted(store, keep_days=0)
    assert store.log()[-1].number == number


def test_leftovers_go_and_the_folder_is_closed_to_others(store):
    upsert(store, some_reviews())
    for left in ("data/.tmpLEFT", "data/stray.lance", "_indices/unknown/page_data.lance"):
        path = store.folder / "reviews.lance" / left
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left over")
    for path in (store.folder, *store.folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    compacted(store)
    there = list(store.folder.rglob("*"))
    assert not [path for path in there if path.is_file() and b"left over" in path.read_bytes()]
    assert all(path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600) for path in (store.folder, *there))


def test_killed_between_its_writes_and_run_again(store, tmp_path):
    upsert(store, some_reviews()[:40], [Item("item1", "One")])
    for review in some_reviews()[40:50]:
        upsert(store, [review])
    before = contents(store.snapshot())
    stores = {write: Store.open(shutil.copytree(store.path, tmp_path / str(write))) for write in (1, 2, 4, 7, 9, 10, 11, 12)}
    command = [sys.executable, "-m", "tests.store.killed", "--compact", *(f"{n}={s.path}" for n, s in stores.items())]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.split() == [str(-signal.SIGKILL)] * len(stores), result.stderr
    for killed in stores.values():
        assert contents(killed.snapshot()) == before
        compacted(killed, keep_days=0)
        assert contents(killed.snapshot()) == before and all(len(found) == 1 for found in versions(killed).values())
        upsert(killed, [Review("after", "item1", "the kill")])
        assert worst_difference(killed.snapshot()) < 1e-12
