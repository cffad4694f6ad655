"""Reading by item: everybody's reviews, whether the table has an index on asin or not."""

from __future__ import annotations

import shutil

import pytest

from depcli.records import Review
from depcli.store import Store
from tests.store.made import IDENTITY, some_reviews, upsert, vector_of


@pytest.fixture(params=["indexed", "made without the index"])
def filled(request, tmp_path, empty, monkeypatch):
    from depcli.store import store as making
    from tests.store.made import IDENTITY

    if request.param == "indexed":
        shutil.copytree(empty, tmp_path / "profiles")
    else:
        monkeypatch.setattr(making, "INDEXED", {**making.INDEXED, "reviews": ("key", "user_id", "text_hash")})
        Store.create(tmp_path / "profiles", IDENTITY)
    store = Store.open(tmp_path / "profiles")
    reviews = some_reviews()
    upsert(store, reviews[::2])
    upsert(store, reviews[1::2])
    with store.writer() as writer:
        writer.tidy(force=True)
    indexed = {column for index in store.snapshot()._table("reviews").list_indices() for column in index.columns}
    assert ("asin" in indexed) == (request.param == "indexed")
    return store


def test_reviewers_of_items_in_a_stable_order(filled):
    asins = ["item4", "item7", "nothing", "item7", "'; --"]
    found = filled.snapshot().reviewers(asins)
    for asin in ("item4", "item7"):
        slow = [review for review in some_reviews() if review.asin == asin]
        slow.sort(key=lambda review: (float("-inf") if review.timestamp is None else review.timestamp, review.user_id))
        assert [stored.review for stored in found[asin]] == slow
        assert all(stored.vector.tobytes() == vector_of(stored.review.text).tobytes() for stored in found[asin])
    assert found.keys() == {"item4", "item7"}


def test_of_many_reviewers_the_same_ones_are_drawn_whoever_asks(tmp_path):
    store = Store.create(tmp_path / "p", IDENTITY)
    crowd = [Review(f"user{i}", "popular", f"text {i}", timestamp=float(i % 7)) for i in range(40)]
    upsert(store, [*crowd, Review("user1", "other", "another")])
    snapshot = store.snapshot()
    everybody = snapshot.reviewers(["popular", "other"])
    some, fewer = (snapshot.reviewers(["other", "popular"], most) for most in (12, 5))
    assert some["other"][0].review == everybody["other"][0].review and snapshot.reviewers(["popular"], 40).keys() == {"popular"}
    names = [[stored.review.user_id for stored in found["popular"]] for found in (everybody, some, fewer)]
    assert [len(each) for each in names] == [40, 12, 5] and set(names[2]) < set(names[1])
    assert names[1] == [name for name in names[0] if name in set(names[1])], "in the same order"
    assert all(stored.vector.tobytes() == vector_of(stored.review.text).tobytes() for stored in some["popular"])
    past = store.snapshot(as_of=3.0).reviewers(["popular"], 12)["popular"]
    assert len(past) == 12 and all(stored.review.timestamp <= 3 for stored in past)
