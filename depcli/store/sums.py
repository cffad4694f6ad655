"""The item sums while one writer changes them. What it wrote stays at hand: the next batch is about the same popular items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from depcli.store import lance
from depcli.store.known import Known
from depcli.store.schema import matrix, sum_rows

_KEPT_BYTES = 128 * 2**20
_ROWS_AT_ONCE = 1024  # of vectors as float64, which should stay in the processor's cache


class Deltas:
    """What a batch adds to the sums of its items: `counts` (k,) int64 reviews and `totals` (k, d) float64 for the k `items`."""

    def __init__(self, asins: Iterable[str], dimension: int):
        self.items = list(dict.fromkeys(asins))
        self.place = {asin: i for i, asin in enumerate(self.items)}
        self.counts, self.totals = np.zeros(len(self.items), np.int64), np.zeros((len(self.items), dimension))

    def add(self, asins: Sequence[str], vectors: Sequence[np.ndarray], *, reviews: int) -> None:
        """Each of these items gets `reviews` more, and its vector (d,) float32."""
        of = np.fromiter(map(self.place.__getitem__, asins), np.int64, len(asins))
        self.counts += reviews * np.bincount(of, minlength=len(self.items))
        order = np.argsort(of, kind="stable")  # sums of runs are several times quicker than np.add.at
        for start in range(0, len(order), _ROWS_AT_ONCE):
            rows = order[start : start + _ROWS_AT_ONCE]
            starts = np.flatnonzero(np.diff(of[rows], prepend=-1))
            block = np.array([vectors[row] for row in rows.tolist()], np.float64)
            self.totals[of[rows[starts]]] += np.add.reduceat(block, starts, axis=0)


class RunningSums:
    """Computes new rows of the item_sums table. `written` makes the newest ones the base of what follows."""

    def __init__(self, table, dimension: int):
        self._table, self._known = table, Known(table, "asin")
        room = _KEPT_BYTES // (8 * dimension)
        self._version: int | None = None  # of the table, that what is kept belongs to
        self._places: dict[str, int] = {}
        self._counts = np.empty(room, np.int64)
        self._totals = np.empty((room, dimension))  # takes memory only where it was written to
        self._new = Deltas((), dimension)

    def changed(self, deltas: Deltas) -> tuple[pa.Table, list[str]]:
        """(new rows, the asins among them that have a row already). The deltas become the new sums."""
        if self._table.version != self._version:  # rolled back, or somebody else wrote
            self._places.clear()
        kept = deltas.place.keys() & self._places.keys()
        for to, at in self._where(kept, deltas):
            deltas.counts[to] += self._counts[at]
            deltas.totals[to] += self._totals[at]
        others = self._known.possible(deltas.place.keys() - kept)
        rows = lance.rows(self._table, "asin", others, ("asin", "reviews", "total"))
        stored = rows.column("asin").to_pylist()
        to = [deltas.place[asin] for asin in stored]
        deltas.counts[to] += rows.column("reviews").to_numpy()
        deltas.totals[to] += matrix(rows, "total")
        self._new = deltas
        return sum_rows(deltas.items, deltas.counts, deltas.totals), [*kept, *stored]

    def written(self) -> None:
        """The rows computed last stand in the table."""
        new = self._new
        self._known.add(new.items)
        for asin in new.items:
            if len(self._places) < len(self._counts):
                self._places.setdefault(asin, len(self._places))
        for of, at in self._where(new.place.keys() & self._places.keys(), new):
            self._counts[at], self._totals[at] = new.counts[of], new.totals[of]
        self._version = self._table.version

    def _where(self, asins: Iterable[str], deltas: Deltas) -> Iterator[tuple[list[int], list[int]]]:
        """The rows of these items in the deltas and here, so many at a time as stay in the processor's cache."""
        asins = list(asins)
        for start in range(0, len(asins), _ROWS_AT_ONCE):
            some = asins[start : start + _ROWS_AT_ONCE]
            yield [deltas.place[asin] for asin in some], [self._places[asin] for asin in some]
