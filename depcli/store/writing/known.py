"""What a column surely does not hold, so that nobody looks for it: nearly all that a large file brings is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from threading import Lock

import numpy as np

from depcli.store.disk import lance

_READS_PER_LOOKUP = 32  # values of a column that can be read in the time of looking one up


class Known:
    """A sieve for the values of one column: 8 bytes each, read when as much has been asked as makes that cheaper than looking.

    May be asked in one thread while another adds. Whoever writes to the column must call `add` after it.
    """

    def __init__(self, table, column: str):
        self._table, self._column = table, column
        self._lock = Lock()
        self._asked = 0
        self._hashes: np.ndarray | None = None  # sorted int64

    def possible(self, values: Iterable[str | bytes]) -> list[str | bytes]:
        """Those of the values that the column may hold: all that it holds, and hardly any other."""
        values = list(values)
        self._asked += len(values)
        if self._hashes is None and self._asked * _READS_PER_LOOKUP >= self._table.count_rows():
            with self._lock:
                pieces = [_hashes(rows.column(0).to_pylist()) for rows in lance.scan(self._table, (self._column,))]
                self._hashes = np.sort(np.concatenate([np.empty(0, np.int64), *pieces]))
        if self._hashes is None or not values:
            return values
        hashes = _hashes(values)
        if not _contains(self._hashes, np.sort(hashes)).any():  # ten times as quick as the same in disorder
            return []
        return list(compress(values, _contains(self._hashes, hashes)))

    def add(self, values: Sequence[str | bytes]) -> None:
        """These values stand in the column now."""
        with self._lock:
            if self._hashes is not None:
                self._hashes = np.sort(np.concatenate([self._hashes, np.sort(_hashes(values))]), kind="stable")  # it merges


def _hashes(values: Sequence[str | bytes]) -> np.ndarray:
    return np.fromiter(map(hash, values), np.int64, len(values))


def _contains(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each value whether it is among the ordered ones."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
