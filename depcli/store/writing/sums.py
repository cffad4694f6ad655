"""The item sums while one writer changes them. They are kept at hand from batch to batch, and written with the commit: the next
batch is about the same popular items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from depcli.store.disk import lance
from depcli.store.schema import matrix, sum_rows
from depcli.store.writing.changes import Changes
from depcli.store.writing.known import Known

_KEPT_BYTES = 192 * 2**20
_ROWS_AT_ONCE = 1024
_SUMMED_AT_ONCE, _NUMBERS_UNDER_LOCK = 512, 384


class RunningSums:
    """Sums that go ahead of their table. `forget` takes back what `add` brought since the last `written`."""

    def __init__(self, table, dimension: int):
        self._table, self._known = table, Known(table, "asin")
        self._room = _KEPT_BYTES // (8 * dimension)
        self._counts = np.empty(self._room, np.int64)
        self._totals = np.empty((self._room, dimension))  # takes memory only where it was written to
        self.forget()

    @property
    def full(self) -> bool:
        """Whether so many items are kept that it is time to write."""
        return len(self._asins) > self._room

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._changed)

    def forget(self) -> None:
        """Begin again with what the table holds."""
        self._version: int | None = None  # of the table, that what is kept belongs to
        self._asins: list[str] = []
        self._places: dict[str, int] = {}
        self._changed: set[int] = set()  # places
        self._stored: set[int] = set()

    def add(self, changes: Changes) -> None:
        """Reckon with what these reviews bring and take."""
        if self._table.version != self._version:  # rolled back, or somebody else wrote
            self.forget()
            self._version = self._table.version
        self._keep([asin for asin in dict.fromkeys(changes.asins) if asin not in self._places])
        for asins, vectors, sign in changes.moves():
            places = list(map(self._places.__getitem__, asins))
            self._changed.update(places)
            np.add.at(self._counts, places, sign)
            change = np.add if sign > 0 else np.subtract
            for start, stop in pairwise(range(0, len(places) + _SUMMED_AT_ONCE, _SUMMED_AT_ONCE)):
                self._change(places[start:stop], vectors[start:stop], change)

    def _change(self, places: Sequence[int], vectors: np.ndarray, change: np.ufunc) -> None:
        """Add these vectors (n, d) to the totals at these places, or subtract them. One by one is quicker than np.add.reduceat on
        rows sorted by item; and what is longer than numpy keeps Python's lock for would wait for it row by row."""
        for column in range(0, self._totals.shape[1], _NUMBERS_UNDER_LOCK):
            here = slice(column, column + _NUMBERS_UNDER_LOCK)
            totals = self._totals[:, here]
            for place, vector in zip(places, vectors[:, here].astype(np.float64), strict=True):
                total = totals[place]
                change(total, vector, out=total)

    def rows(self) -> tuple[list[str], Iterator[pa.Table]]:
        """(the asins that have a row to be replaced, the new rows)."""
        changed = sorted(self._changed)
        return [self._asins[place] for place in changed if place in self._stored], self._rows(changed)

    def written(self) -> None:
        """The new rows stand in the table."""
        self._known.add([self._asins[place] for place in self._changed - self._stored])
        self._stored |= self._changed
        self._changed = set()
        self._version = self._table.version
        if self.full:
            self.forget()

    def _rows(self, places: Sequence[int]) -> Iterator[pa.Table]:
        for start in range(0, len(places), _ROWS_AT_ONCE):
            some = places[start : start + _ROWS_AT_ONCE]
            yield sum_rows([self._asins[place] for place in some], self._counts[some], self._totals[some])

    def _keep(self, asins: Sequence[str]) -> None:
        """Keep these items too, with the sums that the table has."""
        first, end = len(self._asins), len(self._asins) + len(asins)
        if end > len(self._counts):
            self._counts = np.concatenate([self._counts[:first], np.empty(end - first, np.int64)])
            self._totals = np.concatenate([self._totals[:first], np.empty((end - first, self._totals.shape[1]))])
        self._asins += asins
        self._places.update(zip(asins, range(first, end), strict=True))
        self._counts[first:end] = 0
        self._totals[first:end] = 0
        rows = lance.rows(self._table, "asin", self._known.possible(asins), ("asin", "reviews", "total"))
        places = [self._places[asin] for asin in rows.column("asin").to_pylist()]
        self._counts[places] = rows.column("reviews").to_numpy()
        self._totals[places] = matrix(rows, "total")
        self._stored.update(places)
