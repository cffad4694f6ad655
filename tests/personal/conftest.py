from __future__ import annotations

import hashlib

import numpy as np
import pytest

from depcli.records import EmbedderIdentity, Item, Review
from depcli.store import Store

D = 16


def vector_of(text: str) -> np.ndarray:
    """A unit vector (D,) float32 that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    return vector / np.linalg.norm(vector)


def made_store(folder, reviews: list[Review], items: list[Item] = ()):
    store = Store.create(folder, EmbedderIdentity("made", "1", D))
    with store.writer() as writer:
        writer.upsert(reviews, np.stack([vector_of(review.text) for review in reviews]), list(items), source="test")
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
