"""What a batch changes in the reviews table, a few thousand rows at a time: memory that is used again is quicker than fresh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from depcli.store.batch import Version
from depcli.store.schema import REVIEWS, review_rows, schemas

_ROWS_AT_ONCE = 2048


class Changes:
    """Versions of reviews to be written, by `keys`. `vectors` holds those of new texts by text_hash; `before` the vectors (d,)
    float32 in the rows that are replaced, by key."""

    def __init__(self, changed: Mapping[bytes, Version], vectors: Mapping[bytes, np.ndarray], before: Mapping[bytes, np.ndarray]):
        self.keys, self.versions = list(changed), list(changed.values())
        self._vectors, self._before = vectors, before

    def vectors(self) -> Iterator[np.ndarray]:
        """The vectors (n, d) float32 of all rows, in order."""
        for rows in self._slices():
            yield self._matrix(rows)

    def rows(self, dimension: int) -> pa.RecordBatchReader:
        """All rows, made while they are read."""
        batches = (batch for rows in self._slices() for batch in self._table(rows).to_batches())
        return pa.RecordBatchReader.from_batches(schemas(dimension)[REVIEWS], batches)

    def _slices(self) -> Iterator[slice]:
        for start in range(0, len(self.keys), _ROWS_AT_ONCE):
            yield slice(start, start + _ROWS_AT_ONCE)

    def _matrix(self, rows: slice) -> np.ndarray:
        pairs = zip(self.keys[rows], self.versions[rows], strict=True)
        kept = self._before  # a text that stays keeps its vector
        return np.array([kept[key] if v.text == v.stored_text else self._vectors[v.text] for key, v in pairs], np.float32)

    def _table(self, rows: slice) -> pa.Table:
        versions = self.versions[rows]
        hashes, superseded = [version.text for version in versions], [version.superseded for version in versions]
        return review_rows([version.review for version in versions], self.keys[rows], hashes, superseded, self._matrix(rows))
