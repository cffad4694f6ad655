"""What a batch changes in the store, made ready as far as that goes without looking into it: whoever writes shall only write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from depcli.errors import DepError
from depcli.store.batch import Version
from depcli.store.schema import review_rows
from depcli.store.sums import Deltas

_ROWS_AT_ONCE = 2048  # memory that is used again is quicker than fresh memory


class Changes:
    """What is `changed`: the versions that the store shall hold, by key. `texts` are their text hashes; those under the keys of
    `replacing` take the place of a stored version. `deltas` is what they add to their items.

    `vectors` holds those (d,) float32 of all texts that are new, by text hash. Raises DepError for one with NaN or infinity.
    """

    def __init__(self, changed: Mapping[bytes, Version], vectors: Mapping[bytes, np.ndarray], dimension: int):
        self.keys, self.texts = list(changed), [version.text for version in changed.values()]
        self.replacing = [key for key, version in changed.items() if version.stored_text is not None]
        self.deltas = Deltas((version.review.asin for version in changed.values()), dimension)
        self._changed, self._given = changed, vectors
        self._vectors = {key: vectors[version.text] for key, version in changed.items() if version.stored_text is None}
        self._count(self._vectors, reviews=1)
        if not np.isfinite(self.deltas.totals).all():
            raise DepError("the embedder returned NaN or infinity", "nothing of this batch was stored")

    def replace(self, before: Mapping[bytes, np.ndarray]) -> None:
        """Reckon with the vectors (d,) that stand in the store under the keys of `replacing`. A text that stays keeps its own."""
        after = {key: before[key] if self._text_stays(key) else self._given[self._changed[key].text] for key in self.replacing}
        self._count(after, reviews=0)
        self._count({key: -before[key] for key in self.replacing}, reviews=0)
        self._vectors |= after

    def rows(self) -> Iterator[pa.Table]:
        """The rows of all keys, made as they are asked for. `replace` must have been called if anything is replaced."""
        for start in range(0, len(self.keys), _ROWS_AT_ONCE):
            keys = self.keys[start : start + _ROWS_AT_ONCE]
            reviews, hashes, superseded, *_ = zip(*map(self._changed.__getitem__, keys), strict=True)
            yield review_rows(reviews, keys, hashes, superseded, np.array([self._vectors[key] for key in keys], np.float32))

    def _text_stays(self, key: bytes) -> bool:
        return self._changed[key].text == self._changed[key].stored_text

    def _count(self, vectors: Mapping[bytes, np.ndarray], *, reviews: int) -> None:
        self.deltas.add([self._changed[key].review.asin for key in vectors], list(vectors.values()), reviews=reviews)
