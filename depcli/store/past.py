"""The store as it stood at a moment: what was written later does not exist, neither as history nor among the peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depcli.records import ItemSum
from depcli.store.commits import reading
from depcli.store.disk import lance
from depcli.store.schema import ITEMS, REVIEWS, matrix
from depcli.store.snapshot import Snapshot


class PastSnapshot(Snapshot):
    """A snapshot with only the reviews up to `moment` (unix seconds). A review without a time may be from any, so it does not
    count; of a review that was written again later nothing is left, since the store keeps the newest version alone. Items have
    no time and stay.

    The store's item sums hold every review, so these are added up from the reviews themselves, once per item.
    """

    def __init__(self, db, folder, commit, moment: float):
        super().__init__(db, folder, commit)
        self.moment = moment
        self._added_up: dict[str, ItemSum] = {}  # 0 reviews: looked up, and nobody had reviewed it

    def sums(self, asins: Sequence[str]) -> dict[str, ItemSum]:
        self._add_up([asin for asin in dict.fromkeys(asins) if asin not in self._added_up])
        return {asin: self._added_up[asin] for asin in asins if self._added_up[asin].reviews}

    def _add_up(self, asins: Sequence[str]) -> None:
        """One pass over the reviews of these items, of which a few thousand are in memory at a time."""
        counts = dict.fromkeys(asins, 0)
        totals = {asin: np.zeros(self.embedder.dimension) for asin in asins}
        with reading(self._folder, self.commit):
            for piece in lance.batches(self._table(REVIEWS), "asin", asins, ("asin", "vector", "timestamp")):
                rows = self._known(pa.Table.from_batches([piece]))
                for asin, vector in zip(rows.column("asin").to_pylist(), matrix(rows, "vector"), strict=True):
                    counts[asin] += 1
                    totals[asin] += vector
        self._added_up |= {asin: ItemSum(counts[asin], totals[asin]) for asin in asins}

    def _known(self, rows: pa.Table) -> pa.Table:
        """The rows that have a time and one that is not after the moment."""
        return rows.filter(pc.less_equal(rows.column("timestamp"), self.moment))

    def _find(self, name: str, column: str, values: Sequence[str], select: Sequence[str]) -> pa.Table:
        if name != REVIEWS:
            return super()._find(name, column, values, select)
        return self._known(super()._find(name, column, values, _with_time(select)))

    def review_rows(self, columns: Sequence[str], asin: str | None = None) -> Iterator[pa.Table]:
        for rows in super().review_rows(_with_time(columns), asin):
            yield self._known(rows).select(list(columns))

    @cached_property
    def _reviews(self) -> int:
        return sum(rows.num_rows for rows in self.review_rows(("timestamp",)))

    @cached_property
    def _users(self) -> list[str]:
        return sorted(self._mentioned("user_id"))

    @cached_property
    def _asins(self) -> set[str]:
        return self._distinct(ITEMS, "asin") | self._mentioned("asin")

    def _mentioned(self, column: str) -> set[str]:
        return {value for rows in self.review_rows((column,)) for value in rows.column(column).to_pylist()}


def _with_time(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*columns, "timestamp")))
