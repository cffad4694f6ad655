"""A snapshot of a moment is the store into which only the earlier reviews were ever brought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depcli.records import Item, Review
from depcli.store import Snapshot, Store
from depcli.store.past import PastSnapshot
from tests.store.made import IDENTITY, contents, some_reviews, upsert

ITEMS = [Item(f"item{i}", f"Item {i}") for i in range(7)] + [Item("new", "Nobody reviewed it")]
REVIEWS = [
    *some_reviews(),
    Review("early", "item0", "the very first", 2.0, "", -5e8),
    Review("late", "item1", "the last", 1.0, "", 900.0),
]
MOMENTS = (-1e10, -5e8, 100.0, 102.5, 899.0, 900.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("whole"), IDENTITY)
    upsert(store, REVIEWS[::2], ITEMS)
    upsert(store, REVIEWS[1::2])
    return store


def earlier(reviews, moment: float) -> list[Review]:
    return [review for review in reviews if review.timestamp is not None and review.timestamp <= moment]


def everything(snapshot) -> dict:
    """What every method of a snapshot that reads reviews gives."""
    asins, users = [f"item{i}" for i in range(9)] + ["new", "none"], [f"user{u}" for u in range(12)] + ["early", "late", "nobody"]
    return {
        **contents(snapshot),
        "counts": snapshot.counts(),
        "undescribed": snapshot.undescribed(),
        "untimed": snapshot.untimed(),
        "user_ids": snapshot.user_ids(),
        "has_user": [user for user in users if snapshot.has_user(user)],
        "twin": [snapshot.twin(user.upper()) for user in users],
        "reviewers": {
            asin: [(stored.review, stored.vector.tobytes()) for stored in found]
            for asin, found in snapshot.reviewers(asins).items()
        },
        "sums of all": sorted(snapshot.sums(asins)),
        "review_rows": sorted(
            tuple(row.values()) for rows in snapshot.review_rows(("user_id", "text")) for row in rows.to_pylist()
        ),
        "of one item": sorted(
            user for rows in snapshot.review_rows(("user_id",), "item1") for user in rows["user_id"].to_pylist()
        ),
        "all_reviews": list(snapshot.all_reviews()),
        "reviews": snapshot.reviews([(user, asin) for user in users for asin in asins]),
        "vectors": {
            key: vector.tobytes() for key, vector in snapshot.vectors([(user, asin) for user in users for asin in asins]).items()
        },
    }


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_shows_what_a_store_of_the_earlier_reviews_shows(whole, tmp_path, moment):
    only = Store.create(tmp_path, IDENTITY)
    known = earlier(REVIEWS, moment)
    upsert(only, known, ITEMS)
    past = whole.snapshot(as_of=moment)
    assert everything(past) == everything(only.snapshot())
    assert past.counts()["reviews"] == len(known) and past.moment == moment
    assert everything(past) == everything(past), "asked a second time it says the same"


def test_no_reader_of_reviews_was_forgotten():
    """Who gives Snapshot another way to read must say here, and in `everything`, that it respects the moment."""
    reading = {
        "counts",
        "undescribed",
        "untimed",
        "user_ids",
        "has_user",
        "twin",
        "histories",
        "reviewers",
        "sums",
        "review_rows",
        "reviews",
        "vectors",
        "all_reviews",
    }
    timeless = {"embedder", "items", "all_items", "moment", "check_nobody_forgotten", "advice"}
    assert {name for name in vars(Snapshot) if not name.startswith("_")} == reading | timeless
    assert set(vars(PastSnapshot)) & timeless == set()


def test_a_moment_of_an_older_commit(whole, tmp_path):
    first = str(whole.log()[1].number)
    only = Store.create(tmp_path, IDENTITY)
    upsert(only, earlier(REVIEWS[::2], 102.0), ITEMS)
    assert everything(whole.snapshot(first, as_of=102.0)) == everything(only.snapshot())


def test_of_a_review_that_was_written_again_later_nothing_is_left(store):
    before = Review("u", "a", "at first", 4.0, "", 100.0)
    upsert(store, [before, Review("v", "a", "peer", 4.0, "", 100.0)])
    upsert(store, [replace(before, text="on second thought", timestamp=200.0)])
    past = store.snapshot(as_of=150.0)
    assert past.user_ids() == ["v"] and past.sums(["a"])["a"].reviews == 1
    assert store.snapshot(as_of=200.0).histories(["u"])["u"][0].review.text == "on second thought"


def test_sums_are_the_same_however_they_are_cut_into_batches(whole, monkeypatch):
    from depcli.store.disk import lance

    asins = [f"item{i}" for i in range(9)]
    at_once = whole.snapshot(as_of=102.0).sums(asins)
    monkeypatch.setattr(lance, "_ROWS_PER_BATCH", 3)
    monkeypatch.setattr(lance, "_VALUES_PER_QUERY", 2)
    in_pieces = whole.snapshot(as_of=102.0).sums(asins)
    assert at_once.keys() == in_pieces.keys()
    for asin, one in at_once.items():
        assert in_pieces[asin].reviews == one.reviews
        np.testing.assert_allclose(in_pieces[asin].total, one.total, atol=1e-12)
