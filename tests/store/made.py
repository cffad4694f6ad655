"""Made-up reviews and vectors, the slow way to item sums, and ways to look at a whole store."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from depcli.records import EmbedderIdentity, Item, Review
from depcli.store import Snapshot

D = 16
IDENTITY = EmbedderIdentity("made", "1", D)
DATA = Path(os.environ.get("DEP_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


def vector_of(text: str) -> np.ndarray:
    """A unit vector (D,) float32 that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    return vector / np.linalg.norm(vector)


class MadeEmbedder:
    """Remembers what it was asked to embed."""

    identity = IDENTITY

    def __init__(self):
        self.texts: list[str] = []

    def encode(self, texts) -> np.ndarray:
        self.texts += texts
        return np.stack([vector_of(text) for text in texts])


def some_reviews(users: int = 12, items: int = 9) -> list[Review]:
    """User u reviews item i unless (u + i) % 3 == 0; ties in time, some without time, rating or title."""
    return [
        Review(
            f"user{u}",
            f"item{i}",
            f"user {u} on item {i}",
            None if i == 4 else float(1 + (u + i) % 5),
            "" if u % 2 else f"title {i}",
            None if u == 3 else float(100 + i // 2),
        )
        for u in range(users)
        for i in range(items)
        if (u + i) % 3
    ]


def upsert(store, reviews, items=(), source="test"):
    with store.writer() as writer:
        return writer.upsert(reviews, vectors_of(reviews), items, source=source)


def vectors_of(reviews) -> np.ndarray:
    return np.array([vector_of(review.text) for review in reviews], np.float32).reshape(-1, D)


def contents(snapshot: Snapshot) -> dict:
    """Everything a reader can see: reviews with their vectors, items, and sums rounded to 1e-9."""
    histories = snapshot.histories(snapshot.user_ids())
    stored = [entry for history in histories.values() for entry in history]
    asins = sorted({entry.review.asin for entry in stored} | set(snapshot._asins))
    return {
        "reviews": {user: [(entry.review, entry.vector.tobytes()) for entry in history] for user, history in histories.items()},
        "items": snapshot.items(asins),
        "sums": {asin: (s.reviews, tuple((s.total.round(9) + 0.0).tolist())) for asin, s in snapshot.sums(asins).items()},
    }


def worst_difference(snapshot: Snapshot) -> float:
    """The largest deviation of eq. 4 from the sums against eq. 4 from the reviews themselves, over every review of the store."""
    histories = snapshot.histories(snapshot.user_ids())
    reviewers: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for user, history in histories.items():
        for entry in history:
            assert user not in reviewers[entry.review.asin], "two reviews of one user and item"
            reviewers[entry.review.asin][user] = entry.vector.astype(np.float64)
    sums, worst = snapshot.sums(list(reviewers)), 0.0
    assert sums.keys() == reviewers.keys()
    for asin, vectors in reviewers.items():
        assert sums[asin].reviews == len(vectors)
        worst = max(worst, float(np.abs(sums[asin].total - sum(vectors.values())).max()))
        for user, own in vectors.items() if len(vectors) > 1 else ():
            slow = np.mean([own - peer for other, peer in vectors.items() if other != user], axis=0)
            quick = own - (sums[asin].total - own) / (sums[asin].reviews - 1)
            worst = max(worst, float(np.abs(slow - quick).max()))
    return worst


def entries_for_killing() -> list[Review | Item]:
    """Items, reviews, and newer versions of a third of them: every kind of write happens."""
    reviews = some_reviews(users=20)
    newer = [replace(review, text=review.text + " again", timestamp=500.0) for review in reviews[::3]]
    return [*(Item(f"item{i}", f"Item {i}") for i in range(9)), *reviews, *newer, *newer[::2]]
