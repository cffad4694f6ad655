"""Which version of a review stays, decided review by review in the order they are read.

The newest timestamp wins, and a dated review wins over an undated one. Of equally dated versions the one read last wins,
unless it is one that was replaced already: so reading a file again changes nothing, even when it holds both.
The outcome does not depend on how the reviews are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from depcli.records import Review
from depcli.store.schema import content_hash, review_key, text_hash


@dataclass(frozen=True)
class Version:
    """The version of a review that stands. `review` is None for one in the store whose text was not fetched; `rows` is whether
    the store has a row of this key, and `stored_text` the text_hash in it."""

    timestamp: float | None
    text: bytes
    content: bytes
    superseded: tuple[bytes, ...]
    review: Review | None = None
    stored_text: bytes | None = None


class Batch:
    """Reviews on their way into the store: per key the version that stands so far.

    `lookup(keys)` returns the versions in the store. `vectors` maps text_hash to the (d,) float32 vectors that are known.
    """

    def __init__(self, lookup: Callable[[Sequence[bytes]], dict[bytes, Version]]):
        self._lookup = lookup
        self._standing: dict[bytes, Version | None] = {}
        self._texts: dict[bytes, str] = {}  # that have no vector yet
        self.vectors: dict[bytes, np.ndarray] = {}
        self.read = 0
        self.characters = 0

    def add(self, reviews: Iterable[Review]) -> None:
        keyed = [(review_key(review.user_id, review.asin), review) for review in reviews]
        unseen = list({key for key, _ in keyed} - self._standing.keys())
        known = self._lookup(unseen)
        self._standing.update((key, known.get(key)) for key in unseen)
        for key, review in keyed:
            text = text_hash(review.text)
            content = content_hash(text, review.title, review.rating)
            self._standing[key] = _later(self._standing[key], review, text, content)
        for version in (self._standing[key] for key, _ in keyed):
            if version.review is not None and version.text not in self.vectors and version.text != version.stored_text:
                self._texts[version.text] = version.review.text
        self.read += len(keyed)
        self.characters += sum(len(review.text) for _, review in keyed)

    def changed(self) -> dict[bytes, Version]:
        """The versions that the store does not have, by key."""
        return {key: version for key, version in self._standing.items() if version is not None and version.review is not None}

    def missing(self) -> dict[bytes, str]:
        """The texts that need a vector, by text_hash: neither given in `vectors` nor in the store under the same key."""
        self._texts = {text: words for text, words in self._texts.items() if text not in self.vectors}
        return self._texts


def _later(standing: Version | None, review: Review, text: bytes, content: bytes) -> Version:
    """The one of the two that stands."""
    if standing is None:
        return Version(review.timestamp, text, content, review.superseded, review)
    older, newer = _rank(standing.timestamp), _rank(review.timestamp)
    if newer < older or (newer == older and (content == standing.content or content in standing.superseded)):
        return standing
    before = (*standing.superseded, standing.content) if newer == older else ()
    superseded = tuple(dict.fromkeys((*before, *review.superseded)))
    return Version(review.timestamp, text, content, superseded, review, standing.stored_text)


def _rank(timestamp: float | None) -> float:
    return float("-inf") if timestamp is None else timestamp
