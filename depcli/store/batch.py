"""Which version of a review stays, decided review by review in the order they are read.

The newest timestamp wins, and a dated review wins over an undated one. Of equally dated versions the one read last wins,
unless it is one that was replaced already: so reading a file again changes nothing, even when it holds both.
The outcome does not depend on how the reviews are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

from depcli.records import Review
from depcli.store.schema import content_hash, review_keys, text_hashes
from depcli.store.vectors import Vectors


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


_pair, _text, _superseded = attrgetter("user_id", "asin"), attrgetter("text"), attrgetter("superseded")


class Batch:
    """Reviews on their way into the store: per key the version that stands so far.

    `lookup(keys)` returns the versions in the store. `vectors` has those of the texts that are known.
    `before` is a batch that is being written: what it holds counts as stored.
    """

    def __init__(
        self, lookup: Callable[[Sequence[bytes]], dict[bytes, Version]], dimension: int, before: Batch | None = None
    ):  # fmt: skip
        self._lookup = lookup
        self.before = before
        self._standing: dict[bytes, Version | None] = {}
        self._texts: dict[bytes, str] = {}  # that have no vector yet
        self.vectors = Vectors(dimension)
        self.read = 0

    def add(self, reviews: Sequence[Review]) -> None:
        standing = self._standing
        keys = review_keys(map(_pair, reviews))
        texts = text_hashes(map(_text, reviews))
        unseen = dict.fromkeys(keys)
        if not standing.keys().isdisjoint(unseen):
            unseen = dict.fromkeys(key for key in keys if key not in standing)
        known = self._known(list(unseen))
        if len(unseen) == len(keys) and not known:  # all new, as nearly always in a large file: nothing to compare
            versions = zip(reviews, texts, map(_superseded, reviews), repeat(None), repeat(False), strict=False)
            standing.update(zip(keys, map(tuple.__new__, repeat(Version), versions), strict=False))
            wanted = dict(zip(texts, map(_text, reviews), strict=True))
        else:
            standing.update(unseen)
            standing.update(known)
            for key, review, text in zip(keys, reviews, texts, strict=True):
                before = standing[key]
                standing[key] = Version(review, text, review.superseded) if before is None else _later(before, review, text)
            versions = map(standing.__getitem__, keys)
            wanted = {
                version.text: version.review.text
                for version in versions if not (version.stored or version.text == version.stored_text)
            }  # fmt: skip
        if self.before is not None and not self.before.vectors.rows.keys().isdisjoint(wanted):
            there = [text for text in wanted if text in self.before.vectors.rows]
            self.vectors.add(there, self.before.vectors.of(there))
        self._texts |= wanted
        self.read += len(keys)

    def changed(self) -> dict[bytes, Version]:
        """The versions that the store does not have, by key."""
        return {key: version for key, version in self._standing.items() if version is not None and not version.stored}

    def missing(self) -> dict[bytes, str]:
        """The texts that need a vector, by text_hash: neither given in `vectors` nor in the store under the same key."""
        there = self.vectors.rows.keys()
        if self._texts.keys() <= there:
            self._texts = {}
        elif not self._texts.keys().isdisjoint(there):
            self._texts = {text: words for text, words in self._texts.items() if text not in there}
        return self._texts

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, Version]:
        """The versions that are in the store or will be once `before` is."""
        if self.before is None or self.before._standing.keys().isdisjoint(keys):
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
