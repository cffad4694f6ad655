from __future__ import annotations

import pytest

from depcli.records import Item, Review
from depcli.store import Store
from tests.store.made import IDENTITY, upsert


def made_store(folder, reviews: list[Review], items: list[Item] = ()):
    store = Store.create(folder, IDENTITY)
    upsert(store, reviews, items)
    return store


@pytest.fixture
def reviews() -> list[Review]:
    """Five users; item i has the reviewers u with (u + i) % 3 != 0; ties in time; one item with a single reviewer."""
    made = [
        Review(f"user{u}", f"item{i}", f"user {u} on item {i}", float(1 + (u + i) % 5), f"title {i}", float(100 + i // 2))
        for u in range(5) for i in range(8) if (u + i) % 3
    ]  # fmt: skip
    return [*made, Review("user0", "lonely", "nobody else was here", 5.0, "", 500.0)]


@pytest.fixture
def snapshot(tmp_path, reviews):
    items = [Item(f"item{i}", f"Item {i}", f"What item {i} is") for i in range(7)]  # item7 and lonely are not described
    return made_store(tmp_path, reviews, items).snapshot()
