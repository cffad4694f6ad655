"""Which version of a review stays, decided review by review in the order they are read.

The newest timestamp wins, and a dated review wins over an undated one. Of equally dated versions the one read last wins,
unless it is one that was replaced already: so reading a file again changes nothing, even when it holds both.
The outcome does not depend on how the reviews are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import compress, count
from operator import attrgetter
from typing import NamedTuple

from depcli.records import Review
from depcli.store.schema import content_hash, review_keys, text_hashes
from depcli.store.writing.vectors import Vectors


class Version(NamedTuple):
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


class Columns(NamedTuple):
    """Versions side by side, one row each. `stored_texts` has a text_hash for each key that is in the store already."""

    keys: list[bytes]
    reviews: list[Review]
    texts: list[bytes]
    superseded: list[tuple[bytes, ...]]
    stored_texts: dict[bytes, bytes]


_pair, _text, _superseded = attrgetter("user_id", "asin"), attrgetter("text"), attrgetter("superseded")


class Batch:
    """Reviews on their way into the store: per key the version that stands so far.

    `lookup(keys)` returns the versions in the store. `vectors` has those of the texts that are known.
    `before` is a batch that is being written: what it holds counts as stored. `read` reviews were added, of which `outdated`
    stand neither here nor in the store, since another one of their key does; `first_outdated` is one of them.
    """

    def __init__(self, lookup: Callable[[Sequence[bytes]], dict[bytes, Version]], dimension: int, before: Batch | None = None):
        self._lookup = lookup
        self.before = before
        self._keys: list[bytes] = []  # of reviews that nothing was known of when they came, nearly all of a large file, and
        self._reviews: list[Review] = []  # that became no Version, which takes half as long as all the rest
        self._hashes: list[bytes] = []
        self._new: dict[bytes, int] = {}  # their places in these lists; one that was compared since then is in _standing
        self._standing: dict[bytes, Version] = {}
        self._texts: dict[bytes, str] = {}  # that have no vector yet
        self.vectors = Vectors(dimension)
        self.read = self.outdated = 0
        self.first_outdated: Review | None = None

    def add(self, reviews: Sequence[Review]) -> None:
        keys = review_keys(map(_pair, reviews))
        texts = text_hashes(map(_text, reviews))
        unseen = dict.fromkeys(keys)
        if self._holds_any(unseen):
            unseen = dict.fromkeys(key for key in keys if not (key in self._new or key in self._standing))
        known = self._known(list(unseen))
        if len(unseen) == len(keys) and not known:
            self._new.update(zip(keys, count(len(self._keys)), strict=False))
            self._keys += keys
            self._reviews += reviews
            self._hashes += texts
            wanted = dict(zip(texts, map(_text, reviews), strict=True))
        else:
            self._standing.update(known)
            wanted = self._compare(keys, reviews, texts)
        if self.before is not None and not self.before.vectors.rows.keys().isdisjoint(wanted):
            there = [text for text in wanted if text in self.before.vectors.rows]
            self.vectors.add(there, self.before.vectors.of(there))
        self._texts |= wanted
        self.read += len(keys)

    def changed(self) -> Columns:
        """The versions that the store does not have."""
        keys, reviews, texts = self._keys, self._reviews, self._hashes
        if len(self._new) < len(keys):
            left = [key in self._new for key in keys]
            keys, reviews, texts = (list(compress(column, left)) for column in (keys, reviews, texts))
        columns = Columns(keys, reviews, texts, list(map(_superseded, reviews)), {})
        compared = {key: version for key, version in self._standing.items() if not version.stored}
        if not compared:
            return columns
        more = zip(*((version.review, version.text, version.superseded) for version in compared.values()), strict=True)
        return Columns(
            [*keys, *compared],
            *([*column, *values] for column, values in zip(columns[1:4], more, strict=True)),
            {key: version.stored_text for key, version in compared.items() if version.stored_text is not None},
        )

    def missing(self) -> dict[bytes, str]:
        """The texts that need a vector, by text_hash: neither given in `vectors` nor in the store under the same key."""
        there = self.vectors.rows.keys()
        if self._texts.keys() <= there:
            self._texts = {}
        elif not self._texts.keys().isdisjoint(there):
            self._texts = {text: words for text, words in self._texts.items() if text not in there}
        return self._texts

    def _compare(self, keys: Sequence[bytes], reviews: Sequence[Review], texts: Sequence[bytes]) -> dict[bytes, str]:
        """Let the later versions stand, one by one. Returns the texts of these keys that may need a vector, by text_hash."""
        standing = self._standing
        for key, review, text in zip(keys, reviews, texts, strict=True):
            before, now = self._version(key), Version(review, text, review.superseded)
            self._new.pop(key, None)
            standing[key] = now if before is None else self._later(before, now)
        versions = map(standing.__getitem__, keys)
        return {
            version.text: version.review.text
            for version in versions
            if not (version.stored or version.text == version.stored_text)
        }

    def _later(self, before: Version, now: Version) -> Version:
        """The one of the two that stands."""
        stands = _later(before, now)
        lost = now if stands is before else before
        if not lost.stored and lost.content != stands.content:
            self.outdated += 1
            self.first_outdated = self.first_outdated or lost.review
        return stands

    def _holds_any(self, keys: Collection[bytes]) -> bool:
        return not (self._new.keys().isdisjoint(keys) and self._standing.keys().isdisjoint(keys))

    def _version(self, key: bytes) -> Version | None:
        """The version of this key that stands so far, if any."""
        place = self._new.get(key)
        if place is None:
            return self._standing.get(key)
        return Version(self._reviews[place], self._hashes[place], self._reviews[place].superseded)

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, Version]:
        """The versions that are in the store or will be once `before` is."""
        if self.before is None or not self.before._holds_any(keys):
            return self._lookup(keys)
        ahead = {key: version for key in keys if (version := self.before._version(key)) is not None}
        settled = {key: version._replace(stored=True, stored_text=version.text) for key, version in ahead.items()}
        return {**settled, **self._lookup([key for key in keys if key not in settled])}


def _later(standing: Version, now: Version) -> Version:
    older, newer = _rank(standing.review.timestamp), _rank(now.review.timestamp)
    if newer < older:
        return standing
    superseded = now.superseded
    if newer == older:
        if now.content == standing.content or now.content in standing.superseded:
            return standing
        superseded = tuple(dict.fromkeys((*standing.superseded, standing.content, *superseded)))
    return now._replace(superseded=superseded, stored_text=standing.stored_text)


def _rank(timestamp: float | None) -> float:
    return float("-inf") if timestamp is None else timestamp
