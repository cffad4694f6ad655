"""The item sums while one writer changes them. What it wrote stays at hand: the next batch is about the same popular items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from depcli.store import lance
from depcli.store.known import Known
from depcli.store.schema import sum_rows, sums_of

_KEPT_BYTES = 128 * 2**20


class RunningSums:
    """Computes new rows of the item_sums table. `written` makes the newest ones the base of what follows."""

    def __init__(self, table, dimension: int):
        self.known = Known(table, "asin")
        self._table = table
        room = _KEPT_BYTES // (8 * dimension)
        self._version: int | None = None  # of the table, that what is kept belongs to
        self._places: dict[str, int] = {}
        self._counts = np.empty(room, np.int64)
        self._totals = np.empty((room, dimension))  # takes memory only where it was written to
        self._new: tuple[list[str], np.ndarray, np.ndarray] = [], self._counts[:0], self._totals[:0]

    def changed(
        self, asins: Sequence[str], vectors: Iterable[np.ndarray], replaced: Sequence[np.ndarray | None]
    ) -> tuple[pa.Table, list[str]]:  # fmt: skip
        """(new rows, the asins among them that have a row already) for reviews of these n items: `vectors` come, float32 in
        pieces (m, d) that make n together; `replaced` (d,) go away, None where the review is new."""
        place: dict[str, int] = {}
        of = np.array([place.setdefault(asin, len(place)) for asin in asins])
        items = list(place)
        counts, totals = np.zeros(len(items), np.int64), np.zeros((len(items), self._totals.shape[1]))
        stored = self._read(place, counts, totals)
        start = 0
        for piece in vectors:
            _add_rows(totals, of[start : start + len(piece)], piece)
            start += len(piece)
        new = np.array([vector is None for vector in replaced])
        counts += np.bincount(of[new], minlength=len(items))
        for i in np.flatnonzero(~new).tolist():
            totals[of[i]] -= replaced[i]
        self._new = items, counts, totals
        return sum_rows(items, counts, totals), stored

    def _read(self, place: dict[str, int], counts: np.ndarray, totals: np.ndarray) -> list[str]:
        """Fill in the sums as they stand; returns the items that have one."""
        if self._table.version != self._version:  # rolled back, or somebody else wrote
            self._places.clear()
        kept = [asin for asin in place if asin in self._places]
        to, at = [place[asin] for asin in kept], [self._places[asin] for asin in kept]
        counts[to], totals[to] = self._counts[at], self._totals[at]
        others = self.known.possible(place.keys() - self._places.keys())
        stored = sums_of(lance.rows(self._table, "asin", others, ("asin", "reviews", "total")))
        for asin, item_sum in stored.items():
            counts[place[asin]], totals[place[asin]] = item_sum.reviews, item_sum.total
        return [*kept, *stored]

    def written(self) -> None:
        """The rows computed last stand in the table."""
        items, counts, totals = self._new
        self.known.add(items)
        for asin in items:
            if len(self._places) < len(self._counts):
                self._places.setdefault(asin, len(self._places))
        new = [i for i, asin in enumerate(items) if asin in self._places]
        at = [self._places[items[i]] for i in new]
        self._counts[at], self._totals[at] = counts[new], totals[new]
        self._version = self._table.version
        self._new = [], counts[:0], totals[:0]


def _add_rows(totals: np.ndarray, of: np.ndarray, rows: np.ndarray) -> None:
    """totals[of[i]] += rows[i] for every i, several times quicker than np.add.at."""
    order = np.argsort(of, kind="stable")
    ends = np.flatnonzero(np.diff(of[order], append=-1)) + 1
    for i, start, end in zip(of[order[ends - 1]].tolist(), [0, *ends.tolist()], ends.tolist(), strict=False):
        chosen = order[start:end]  # mostly one, that need not be gathered
        totals[i] += rows[chosen[0]] if end - start == 1 else rows[chosen].sum(axis=0, dtype=np.float64)
