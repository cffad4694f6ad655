"""Forgotten means gone: from the tables, from the sums, and from every byte on the disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from depcli.errors import NotFound
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.schema import content_hash, review_keys, text_hashes
from depcli.store.upkeep import erase
from tests.store.aged import make_older
from tests.store.bytes_on_disk import found
from tests.store.made import IDENTITY, contents, some_reviews, upsert, vector_of, worst_difference

USER = "the-user-to-be-forgotten-Zx81"


def unlike_any(*of) -> str:
    """Words that are nowhere else."""
    return hashlib.sha256(repr(of).encode()).hexdigest()


def crowd(reviews: int, theirs: int) -> list[Review]:
    """`theirs` of the reviews are by USER, the first of an item that nobody else reviewed; the others by 40 users of shared
    items."""
    mine = [
        Review(USER, unlike_any("alone") if n == 0 else f"item{n}", f"{unlike_any(n)} said I", 3.0, unlike_any("title", n), 5.0)
        for n in range(theirs)
    ]
    others = [
        Review(f"user{n % 40}", f"item{n // 40 * 7 + n % 7}", f"number {n} " * 5, 2.0, "", 7.0) for n in range(reviews - theirs)
    ]
    return mine + others


def traces(reviews: list[Review], sums: dict[str, np.ndarray]) -> dict[tuple[str, str], bytes]:
    """All that could be left of these reviews, by kind and text. `sums` are those of their items (d,) float64."""
    needles = {("user", ""): USER.encode(), ("item", ""): unlike_any("alone").encode()}
    for review in reviews:
        vector, text = vector_of(review.text), text_hashes([review.text])[0]
        kinds = {
            "text": review.text.encode(),
            "title": review.title.encode(),
            "vector": vector.tobytes(),
            "sum": sums[review.asin].tobytes(),
            "single sum": vector.astype(np.float64).tobytes(),
            "text hash": text,
            "key": review_keys([(review.user_id, review.asin)])[0],
            "content": content_hash(text, review.title, review.rating),
        }
        needles |= {(kind, review.text): data for kind, data in kinds.items()}
    return needles


def sums_of(store, reviews: list[Review]) -> dict[str, np.ndarray]:
    return {asin: s.total for asin, s in store.snapshot().sums([review.asin for review in reviews]).items()}


@pytest.mark.parametrize(("reviews", "theirs"), [(2000, 2), (1000, 300)])
def test_nothing_of_a_user_is_left_on_the_disk(store, tmp_path, reviews, theirs):
    entries, items = crowd(reviews, theirs), [Item("item1", "One", "described")]
    mine = entries[:theirs]
    upsert(store, entries[: reviews // 2], items)
    upsert(store, entries[reviews // 2 :])
    needles = traces(mine, sums_of(store, mine))
    again = [Review(USER, mine[-1].asin, unlike_any("again"), 4.0, unlike_any("another title"), mine[-1].timestamp)]
    upsert(store, again)
    needles |= traces(again, sums_of(store, again))
    for left in (
        "data/.tmpLEFT",
        "data/stray.lance",
        "_transactions/7-left.txn",
        "_transactions/999-left.txn",
        "_versions/18446744073709551000.manifest#1",
        "_deletions/3-4-5.arrow",
    ):
        path = store.folder / "reviews.lance" / left
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mine[0].text.encode())
    there = found(store.folder, needles)
    assert {kind for kind, _ in needles} == {kind for kind, _ in there}  # the search finds what is there
    with store.writer() as writer:
        erased = erase.forget(writer.tables, [USER], [])
    assert found(store.folder, needles) == {}
    assert (erased.reviews, erased.commits) == (theirs, 4)
    plain = Store.create(tmp_path / "plain", IDENTITY)
    upsert(plain, entries[theirs:], items)
    assert contents(store.snapshot()) == contents(plain.snapshot())
    assert worst_difference(store.snapshot()) < 1e-12
    commit = store.log()[-1]
    assert (commit.action, commit.source) == ("forget", "") and commit.counts["reviews_removed"] == theirs


def test_nothing_of_an_item_is_left_on_the_disk(store, tmp_path):
    asin = unlike_any("item")
    reviews = [*some_reviews(), *(Review(f"user{u}", asin, unlike_any(u)) for u in range(5)), Review("only", asin, unlike_any())]
    upsert(store, reviews, [Item(asin, unlike_any("title"), unlike_any("described")), Item("item1", "One")])
    needles = {
        n: n.encode() for n in [asin, "only", *(unlike_any(u) for u in range(5)), *map(unlike_any, ("title", "described"))]
    }
    assert found(store.folder, needles).keys() == needles.keys()
    with store.writer() as writer:
        erase.forget(writer.tables, [], [asin])
    assert found(store.folder, needles) == {}
    plain = Store.create(tmp_path / "plain", IDENTITY)
    upsert(plain, some_reviews(), [Item("item1", "One")])
    assert contents(store.snapshot()) == contents(plain.snapshot())


def test_items_that_nobody_else_reviewed_go_with_their_reviewer(store):
    names = ("diary", "mine/00001", "mine/target", "minette/1", "mine/b/target", "mine/mug", "catalogue", "shared")
    own = {name: unlike_any("own", name) for name in names}
    upsert(
        store,
        [Review("mine", asin, "words") for asin in ("diary", "mine/00001", "shared")] + [Review("other", "shared", "as well")],
        [Item(asin, f"about {asin}", text) for asin, text in own.items()],
    )
    gone = {asin: text.encode() for asin, text in own.items() if asin in ("diary", "mine/00001", "mine/target")}
    assert found(store.folder, gone).keys() == gone.keys()
    with store.writer() as writer:
        erased = erase.forget(writer.tables, ["mine"], [])
    assert found(store.folder, gone) == {} and (erased.reviews, erased.items) == (3, 3)
    assert set(store.snapshot().items(list(own))) == {*own} - {*gone}


def test_a_clock_that_was_ahead_leaves_nothing(store):
    entries = crowd(200, 20)
    upsert(store, entries)
    needles = traces(entries[:20], sums_of(store, entries[:20]))
    upsert(store, [replace(review, text=unlike_any(review.text), timestamp=8.0) for review in entries[:20]])
    assert found(store.folder, {"item": unlike_any("alone").encode()})
    make_older(store, -1)  # as if written tomorrow: the clock was put back since
    for path in store.folder.rglob("*"):
        os.utime(path, (time.time() + 86400,) * 2)
    with store.writer() as writer:
        erase.forget(writer.tables, [USER], [])
    assert found(store.folder, needles) == {}
    assert len(contents(store.snapshot())["reviews"]) == 40


def test_several_at_once_and_everybody(store, tmp_path):
    upsert(store, some_reviews(), [Item("item1", "One"), Item("unread", "nobody wrote of it")])
    with store.writer() as writer:
        erase.forget(writer.tables, ["user1", "user2"], ["item1", "unread"])
    plain = Store.create(tmp_path / "plain", IDENTITY)
    upsert(plain, [r for r in some_reviews() if r.user_id not in ("user1", "user2") and r.asin != "item1"])
    assert contents(store.snapshot()) == contents(plain.snapshot())
    with store.writer() as writer:
        erase.forget(writer.tables, store.snapshot().user_ids(), [])
    assert store.snapshot().counts() == {"reviews": 0, "users": 0, "items": 0}
    upsert(store, some_reviews())
    assert worst_difference(store.snapshot()) < 1e-12


HOSTILE = ["O'Brien", "x' OR 1=1 --", 'a" OR "" = "', "%", "user_", "\\", "\udcff", "", "USER1", "user1 "]


def test_exactly_who_was_asked_for_or_nobody(store):
    upsert(store, [*some_reviews(), Review("O'Brien", "item1", "the only one")])
    before = contents(store.snapshot())
    with store.writer() as writer:
        for users, items in [(["user1", name], []) for name in HOSTILE[1:]] + [([], ["item1", "no item"]), (["item1"], [])]:
            with pytest.raises(NotFound, match="the store has no"):
                erase.forget(writer.tables, users, items)
        assert contents(store.snapshot()) == before and len(store.log()) == 2
        assert erase.forget(writer.tables, ["O'Brien"], []).reviews == 1
    before["reviews"].pop("O'Brien")
    assert contents(store.snapshot())["reviews"] == before["reviews"]


def test_who_has_an_erased_commit_open_is_told(store):
    upsert(store, some_reviews())
    opened, used = store.snapshot(), store.snapshot()
    used.counts()
    with store.writer() as writer:
        erase.forget(writer.tables, ["user1"], [])
    for snapshot in (opened, used):
        with pytest.raises(NotFound, match="forgotten since commit 1 "):
            snapshot.histories(["user1"])
        with pytest.raises(NotFound):
            snapshot.sums(["item1"])
    for number in ("0", "1", opened.commit.id):
        with pytest.raises(NotFound, match="cannot be read any more"):
            store.snapshot(number)
    assert [store.readable(commit) for commit in store.log()] == [False, False, True]


def test_a_store_that_others_could_read_is_closed_by_forgetting(store):
    upsert(store, some_reviews())
    for path in (store.folder, *store.folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with store.writer() as writer:
        erase.forget(writer.tables, ["user1"], [])
    assert all(path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600) for path in store.folder.rglob("*"))


def test_killed_between_its_writes_and_run_again(store, tmp_path):
    entries = crowd(reviews=60, theirs=4)
    upsert(store, entries)
    before, needles = contents(store.snapshot()), traces(entries[:4], sums_of(store, entries[:4]))
    stores = {write: Store.open(shutil.copytree(store.path, tmp_path / str(write))) for write in (1, 4, 6, 8, 12, 13, 14, 15, 17)}
    command = [sys.executable, "-m", "tests.store.killed", "--forget", USER, *(f"{n}={s.path}" for n, s in stores.items())]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.split() == [str(-signal.SIGKILL)] * len(stores), result.stderr
    with store.writer() as writer:
        erase.forget(writer.tables, [USER], [])
    after, seen = contents(store.snapshot()), set()
    for killed in stores.values():
        forgotten = killed.log()[-1].action == "forget"
        seen.add((forgotten, erase.unfinished(killed.folder)))
        assert contents(killed.snapshot()) == (after if forgotten else before)
        with killed.writer() as writer:
            if not forgotten:
                assert contents(killed.snapshot()) == before
                erase.forget(writer.tables, [USER], [])
        assert not erase.unfinished(killed.folder)
        assert found(killed.folder, needles) == {}
        assert contents(killed.snapshot()) == after
        upsert(killed, some_reviews())
        assert worst_difference(killed.snapshot()) < 1e-12
    assert seen == {(False, False), (False, True), (True, True)}
