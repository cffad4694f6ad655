"""The vectors of a batch, by text, in the blocks that the embedder made: nothing is copied before somebody wants rows of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from depcli.errors import DepError


class Vectors:
    """Vectors (d,) float32 by text hash. A text that is given twice has the later one. `rows` has the texts as keys."""

    def __init__(self, dimension: int):
        self.dimension = dimension
        self._blocks: list[np.ndarray] = []
        self._starts: list[int] = []  # the rows are numbered through all blocks
        self.rows: dict[bytes, int] = {}
        self._count = 0

    def add(self, texts: Sequence[bytes], block: np.ndarray) -> None:
        """The vectors (n, d) of these n texts. Raises DepError for one with NaN or infinity."""
        block = np.asarray(block, np.float32).reshape(-1, self.dimension)
        if not np.isfinite(block).all():
            raise DepError("the embedder returned NaN or infinity", "nothing of this batch was stored")
        self.rows.update(zip(texts, range(self._count, self._count + len(block)), strict=True))
        if len(block):
            self._starts.append(self._count)
            self._blocks.append(block)
            self._count += len(block)

    def of(self, texts: Sequence[bytes]) -> np.ndarray:
        """The vectors (n, d) float32 of these texts, which must all be here."""
        return self.at(self.places(texts))

    def places(self, texts: Sequence[bytes]) -> np.ndarray:
        """Where the vectors of these texts are, for at(): (n,) int64, -1 for texts that have none."""
        return np.fromiter(map(self.rows.get, texts, repeat(-1)), np.int64, len(texts))

    def at(self, places: np.ndarray) -> np.ndarray:
        """The vectors (n, d) float32 at these places; perhaps the embedder's own array, so not to be changed."""
        blocks = np.searchsorted(self._starts, places, side="right") - 1
        if len(places) and blocks[0] == blocks[-1] and (np.diff(places) == 1).all():
            first = places[0] - self._starts[blocks[0]]
            return self._blocks[blocks[0]][first : first + len(places)]
        found = np.empty((len(places), self.dimension), np.float32)
        for number in np.unique(blocks).tolist():
            here = np.flatnonzero(blocks == number)
            found[here] = self._blocks[number][places[here] - self._starts[number]]
        return found
