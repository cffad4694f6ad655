"""Reading by item: everybody's reviews, whether the table has an index on asin or not."""

from __future__ import annotations

import shutil

import pytest

from depcli.store import Store
from tests.store.made import some_reviews, upsert, vector_of


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
