from __future__ import annotations

import gzip
import json

import pytest

from depcli.demo.world import world
from depcli.records import Item, Review
from depcli.store import Store
from tests.store.made import DATA, IDENTITY, upsert


def made_store(folder, reviews: list[Review], items: list[Item] = ()):
    store = Store.create(folder, IDENTITY)
    upsert(store, reviews, items)
    return store


def few_people(users: int) -> tuple[list[Review], list[Item]]:
    """The reviews of so many users of the demo's world, and all its items."""
    reviews, items = world()
    some = sorted({review.user_id for review in reviews})[:users]
    return [review for review in reviews if review.user_id in some], items


@pytest.fixture
def reviews() -> list[Review]:
    """Five users; item i has the reviewers u with (u + i) % 3 != 0; ties in time; one item with a single reviewer."""
    made = [
        Review(f"user{u}", f"item{i}", f"user {u} on item {i}", float(1 + (u + i) % 5), f"title {i}", float(100 + i // 2))
        for u in range(5)
        for i in range(8)
        if (u + i) % 3
    ]
    return [*made, Review("user0", "lonely", "nobody else was here", 5.0, "", 500.0)]


@pytest.fixture
def snapshot(tmp_path, reviews):
    items = [Item(f"item{i}", f"Item {i}", f"What item {i} is") for i in range(7)]  # item7 and lonely are not described
    return made_store(tmp_path, reviews, items).snapshot()


@pytest.fixture(scope="package")
def real(tmp_path_factory) -> tuple[list[Review], Store]:
    """The Rotten Tomatoes reviews and a store of them, with made-up vectors."""
    if not DATA.is_dir():
        pytest.skip("the research data is not beside the checkout (set DEP_DATA)")
    with gzip.open(DATA / "rotten_tomatoes" / "reviews.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    wanted = ("user_id", "asin", "text", "rating", "title", "timestamp")
    reviews = [Review(**{key: row[key] for key in wanted}) for row in rows]
    return reviews, made_store(tmp_path_factory.mktemp("real"), reviews)
