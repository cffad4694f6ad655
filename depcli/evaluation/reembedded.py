"""A snapshot with the vectors of another embedder, for comparing embedders without making a store for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from depcli.personal.history import each_history
from depcli.records import ItemSum, Stored


class Reembedded:
    """The histories, reviewers and item sums of a snapshot, its texts embedded afresh when they are first asked for. Vectors are
    kept in memory, once per text, and nowhere else. `on_text` gets the number of texts embedded so far."""

    def __init__(self, snapshot, embedder, on_text: Callable[[int], None] = lambda done: None):
        self._snapshot, self._encoder, self._on_text = snapshot, embedder, on_text
        self._vectors: dict[bytes, np.ndarray] = {}
        self._sums: dict[str, ItemSum] = {}

    @property
    def texts(self) -> int:
        """How many different texts have been embedded."""
        return len(self._vectors)

    def histories(self, user_ids: Sequence[str]) -> dict[str, list[Stored]]:
        """As of a Snapshot."""
        return self._again(self._snapshot.histories(user_ids))

    def reviewers(self, asins: Sequence[str], most: int | None = None) -> dict[str, list[Stored]]:
        """As of a Snapshot."""
        return self._again(self._snapshot.reviewers(asins, most))

    def vectors(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
        """As of a Snapshot."""
        reviews = self._snapshot.reviews(keys)
        self._embed(review.text for review in reviews.values())
        return {key: self._vectors[_hash(review.text)] for key, review in reviews.items()}

    def sums(self, asins: Iterable[str]) -> dict[str, ItemSum]:
        """As of a Snapshot, added up from the reviewers."""
        asins = list(dict.fromkeys(asins))
        missing = [asin for asin in asins if asin not in self._sums]
        for start in range(0, len(missing), _ITEMS):
            for asin, stored in self.reviewers(missing[start : start + _ITEMS]).items():
                self._sums[asin] = ItemSum(len(stored), np.sum([entry.vector for entry in stored], axis=0, dtype=np.float64))
        return {asin: self._sums[asin] for asin in asins if asin in self._sums}

    def _embed(self, texts: Iterable[str]) -> None:
        new = {key: text for text in texts if (key := _hash(text)) not in self._vectors}
        for start in range(0, len(new), _TEXTS):
            keys = list(new)[start : start + _TEXTS]
            self._vectors |= zip(keys, self._encoder.encode([new[key] for key in keys]), strict=True)
            self._on_text(self.texts)

    def _again(self, found: dict[str, list[Stored]]) -> dict[str, list[Stored]]:
        self._embed(entry.review.text for stored in found.values() for entry in stored)
        return {
            name: [replace(entry, vector=self._vectors[_hash(entry.review.text)]) for entry in stored]
            for name, stored in found.items()
        }


_ITEMS = 64  # items whose reviewers are embedded together
_TEXTS = 512


def reviews_to_embed(snapshot, user_ids: Sequence[str]) -> int:
    """How many reviews a comparison over these users rests on: everybody's, of every item that one of them reviewed."""
    asins: set[str] = set()
    for _, history in each_history(snapshot, user_ids):
        asins |= {entry.review.asin for entry in history}
    return sum(found.reviews for found in snapshot.sums(sorted(asins)).values())


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
