"""What a batch changes in the store, made ready as far as that goes without looking into it: whoever writes shall only write."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from depcli.errors import DepError
from depcli.store.batch import Version
from depcli.store.schema import REVIEWS, review_rows, schemas
from depcli.store.sums import Deltas

_ROWS_AT_ONCE = 2048  # memory that is used again is quicker than fresh memory


class Changes:
    """`rows` of reviews that are new to the store, with what they add to their items in `deltas`; `replacing` are the versions
    that take the place of a stored one, by key. `vectors` holds those of all texts that are new, by text_hash.

    Raises DepError for a vector with NaN or infinity.
    """

    def __init__(self, changed: Mapping[bytes, Version], vectors: Mapping[bytes, np.ndarray], dimension: int):
        self.keys, self.texts = list(changed), [version.text for version in changed.values()]
        self.replacing = {key: version for key, version in changed.items() if version.stored_text is not None}
        self.deltas = Deltas((version.review.asin for version in changed.values()), dimension)
        self._vectors = vectors
        new = [(key, version) for key, version in changed.items() if version.stored_text is None]
        parts = [self._new_rows(new[start : start + _ROWS_AT_ONCE]) for start in range(0, len(new), _ROWS_AT_ONCE)]
        self.rows = pa.concat_tables([schemas(dimension)[REVIEWS].empty_table(), *parts])

    def _new_rows(self, new: list[tuple[bytes, Version]]) -> pa.Table:
        after = np.array([self._vectors[version.text] for _, version in new], np.float32)
        self.deltas.add([version.review.asin for _, version in new], _finite(after), reviews=1)
        return _rows([key for key, _ in new], [version for _, version in new], after)

    def replacing_rows(self, before: Mapping[bytes, np.ndarray]) -> pa.Table:
        """The rows of `replacing`, given the vectors (d,) that stand in the store under their keys. A text that stays keeps its
        vector. What they change in their items goes into `deltas`."""
        versions = list(self.replacing.values())
        asins, old = [version.review.asin for version in versions], np.array([before[key] for key in self.replacing], np.float32)
        after = np.array(
            [before[key] if v.text == v.stored_text else self._vectors[v.text] for key, v in self.replacing.items()], np.float32
        )
        self.deltas.add(asins, _finite(after), reviews=0)
        self.deltas.add(asins, -old, reviews=0)
        return _rows(list(self.replacing), versions, after)


def _finite(vectors: np.ndarray) -> np.ndarray:
    if not np.isfinite(vectors).all():
        raise DepError("the embedder returned NaN or infinity", "nothing of this batch was stored")
    return vectors


def _rows(keys: list[bytes], versions: list[Version], vectors: np.ndarray) -> pa.Table:
    hashes, superseded = [version.text for version in versions], [version.superseded for version in versions]
    return review_rows([version.review for version in versions], keys, hashes, superseded, vectors)
