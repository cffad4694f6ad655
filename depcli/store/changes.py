"""What a batch changes in the store, made ready as far as that goes without looking into it: whoever writes shall only write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from depcli.store.batch import Version
from depcli.store.schema import review_rows
from depcli.store.vectors import Vectors

_ROWS_AT_ONCE = 2048  # memory that is used again is quicker than fresh memory
_SUMMED_AT_ONCE = 256  # and what fits into the processor's cache quicker than what does not


class Changes:
    """What is `changed`: the versions that the store shall hold, by key. `asins` and `texts` are their items and text hashes;
    those under the keys of `replacing` take the place of a stored version. `vectors` has those of all texts that are new."""

    def __init__(self, changed: Mapping[bytes, Version], vectors: Vectors):
        self.keys, self._vectors = list(changed), vectors
        columns = zip(*changed.values(), strict=True) if changed else ((),) * len(Version._fields)
        self._reviews, self.texts, self._superseded, stored_texts, _ = columns
        self.asins = [review.asin for review in self._reviews]
        self.replacing = [key for key, text in zip(self.keys, stored_texts, strict=True) if text is not None]
        self._before: Mapping[bytes, np.ndarray] = {}
        self._places = vectors.places(self.texts)
        if self.replacing:
            self._places[[text == before for text, before in zip(self.texts, stored_texts, strict=True)]] = -1  # it stays

    def replace(self, before: Mapping[bytes, np.ndarray]) -> None:
        """Reckon with the vectors (d,) that stand in the store under the keys of `replacing`. A text that stays keeps its own."""
        self._before = before

    def rows(self) -> Iterator[pa.Table]:
        """The rows of all keys, made as they are asked for. `replace` must have been called if anything is replaced."""
        for here in self._slices(_ROWS_AT_ONCE):
            yield review_rows(
                self._reviews[here], self.keys[here], self.texts[here], self._superseded[here], self._after(here)
            )  # fmt: skip

    def moves(self) -> Iterator[tuple[list[str], np.ndarray, int]]:
        """What the item sums gain and lose: (asins, vectors (n, d) float32, +1), and for what is replaced (..., -1)."""
        for here in self._slices(_SUMMED_AT_ONCE):
            yield self.asins[here], self._after(here), 1
        if self._before:
            asins = dict(zip(self.keys, self.asins, strict=True))
            yield [asins[key] for key in self._before], np.array(list(self._before.values())), -1

    def _slices(self, rows: int) -> Iterator[slice]:
        return (slice(start, start + rows) for start in range(0, len(self.keys), rows))

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
