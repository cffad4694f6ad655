"""Which version of a review stays, decided review by review in the order they are read.

The newest timestamp wins, and a dated review wins over an undated one. Of equally dated versions the one read last wins,
unless it is one that was replaced already: so reading a file again changes nothing, even when it holds both.
The outcome does not depend on how the reviews are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from depcli.records import Review
from depcli.store.schema import content_hash, review_keys, text_hashes


class Version(NamedTuple):  # and no dataclass: a million of them are made, and this takes a third of the time
    """The version of a review that stands. With `stored` it is the store's, and its text may be missing from `review`.
    `text` is the text_hash; `stored_text` the one in the store's row of this key, None when it has no such row."""

    review: Review
    text: bytes
    superseded: tuple[bytes, ...] = ()
    stored_text: bytes | None = None
    stored: bool = False

    @property
    def content(self) -> bytes:
        return content_hash(self.text, self.review.title, self.review.rating)


class Batch:
    """Reviews on their way into the store: per key the version that stands so far.

    `lookup(keys)` returns the versions in the store. `vectors` maps text_hash to the (d,) float32 vectors that are known.
    `before` is a batch that is being written: what it holds counts as stored.
    """

    def __init__(self, lookup: Callable[[Sequence[bytes]], dict[bytes, Version]], before: Batch | None = None):
        self._lookup = lookup
        self.before = before
        self._standing: dict[bytes, Version | None] = {}
        self._texts: dict[bytes, str] = {}  # that have no vector yet
        self.vectors: dict[bytes, np.ndarray] = {}
        self.read = 0

    def add(self, reviews: Sequence[Review]) -> None:
        standing, vectors = self._standing, self.vectors
        keys = review_keys((review.user_id, review.asin) for review in reviews)
        unseen = [key for key in dict.fromkeys(keys) if key not in standing]
        standing.update(dict.fromkeys(unseen))
        standing.update(self._known(unseen))
        texts = text_hashes(review.text for review in reviews)
        for key, review, text in zip(keys, reviews, texts, strict=True):
            before = standing[key]
            standing[key] = Version(review, text, review.superseded) if before is None else _later(before, review, text)
        written = {} if self.before is None else self.before.vectors
        for version in map(standing.__getitem__, keys):
            text = version.text
            if version.stored or text in vectors or text == version.stored_text:
                continue
            if text in written:
                vectors[text] = written[text]
            else:
                self._texts[text] = version.review.text
        self.read += len(keys)

    def changed(self) -> dict[bytes, Version]:
        """The versions that the store does not have, by key."""
        return {key: version for key, version in self._standing.items() if version is not None and not version.stored}

    def missing(self) -> dict[bytes, str]:
        """The texts that need a vector, by text_hash: neither given in `vectors` nor in the store under the same key."""
        self._texts = {text: words for text, words in self._texts.items() if text not in self.vectors}
        return self._texts

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, Version]:
        """The versions that are in the store or will be once `before` is."""
        if self.before is None:
            return self._lookup(keys)
        ahead = {key: version for key in keys if (version := self.before._standing.get(key)) is not None}
        settled = {key: version._replace(stored=True, stored_text=version.text) for key, version in ahead.items()}
        return {**settled, **self._lookup([key for key in keys if key not in settled])}


def _later(standing: Version, review: Review, text: bytes) -> Version:
    """The one of the two that stands."""
    older, newer = _rank(standing.review.timestamp), _rank(review.timestamp)
    if newer < older:
        return standing
    superseded = review.superseded
    if newer == older:
        content = content_hash(text, review.title, review.rating)
        if content == standing.content or content in standing.superseded:
            return standing
        superseded = tuple(dict.fromkeys((*standing.superseded, standing.content, *superseded)))
    return Version(review, text, superseded, standing.stored_text)


def _rank(timestamp: float | None) -> float:
    return float("-inf") if timestamp is None else timestamp
