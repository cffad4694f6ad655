"""What a batch changes in the store, made ready as far as that goes without looking into it: whoever writes shall only write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from depcli.store.schema import review_rows
from depcli.store.writing.batch import Columns
from depcli.store.writing.vectors import Vectors

_ROWS_AT_ONCE = 2048


class Changes:
    """What is `changed`: the versions that the store shall hold. `keys`, `asins` and `texts` are theirs, items and text hashes;
    those under the keys of `replacing` take the place of a stored version. `vectors` has those of all texts that are new."""

    def __init__(self, changed: Columns, vectors: Vectors):
        self.keys, self._reviews, self.texts, self._superseded, stored_texts = changed
        self._vectors = vectors
        self.asins = [review.asin for review in self._reviews]
        self.replacing = list(stored_texts)
        self._before: Mapping[bytes, np.ndarray] = {}
        self._places = vectors.places(self.texts)
        self._rows: pa.Table | None = None
        if self.replacing:
            stays = [stored_texts.get(key) == text for key, text in zip(self.keys, self.texts, strict=True)]
            self._places[stays] = -1
        elif self.keys:
            self._rows = pa.concat_tables(self._made())

    def replace(self, before: Mapping[bytes, np.ndarray]) -> None:
        """Reckon with the vectors (d,) that stand in the store under the keys of `replacing`. A text that stays keeps its own."""
        self._before = before

    def rows(self) -> pa.Table | Iterator[pa.Table]:
        """The rows of all keys: ready-made, so that whoever writes them needs nothing of Python, unless something is replaced.
        Then `replace` must have been called, and they are made as they are asked for."""
        return self._made() if self._rows is None else self._rows

    def moves(self) -> Iterator[tuple[list[str], np.ndarray, int]]:
        """What the item sums gain and lose: (asins, vectors (n, d) float32, +1), and for what is replaced (..., -1)."""
        for here in self._slices():
            yield self.asins[here], self._after(here), 1
        if self._before:
            asins = dict(zip(self.keys, self.asins, strict=True))
            yield [asins[key] for key in self._before], np.array(list(self._before.values())), -1

    def _made(self) -> Iterator[pa.Table]:
        for here in self._slices():
            yield review_rows(self._reviews[here], self.keys[here], self.texts[here], self._superseded[here], self._after(here))

    def _slices(self) -> Iterator[slice]:
        return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(self.keys), _ROWS_AT_ONCE))

    def _after(self, here: slice) -> np.ndarray:
        """The vectors (n, d) float32 that these rows shall have."""
        places = self._places[here]
        stays = np.flatnonzero(places < 0).tolist()
        if not stays:
            return self._vectors.at(places)
        found = np.empty((len(places), self._vectors.dimension), np.float32)
        found[places >= 0] = self._vectors.at(places[places >= 0])
        for row in stays:
            found[row] = self._before[self.keys[here][row]]
        return found
