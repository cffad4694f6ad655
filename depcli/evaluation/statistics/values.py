"""Values per target, some of which may be missing: what a mean is of, and what a difference of two methods is of."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from depcli.evaluation.statistics.significance import standard_error


@dataclass(frozen=True, eq=False)
class Values:
    """One metric of one method: `runs` (seeds, n) float64, or (n,) where seeds have no part in it, a value per target, NaN where
    there is none; `weights` (n,) such as token counts, None where all count alike."""

    runs: np.ndarray
    weights: np.ndarray | None = None

    @property
    def each(self) -> np.ndarray:
        """(n,) averaged over the seeds that have a value, NaN where none has."""
        return _averaged(self.runs, np.isfinite(self.runs))

    @property
    def weighing(self) -> np.ndarray:
        """(n,) how much `each` counts in a mean, where every value counts alike or by its weight: 0 where there is none."""
        return self._weighing(np.isfinite(self.runs))

    def value(self) -> float | None:
        """The mean of all values; None without any."""
        there = self.weighing > 0
        return float(np.average(self.each[there], weights=self.weighing[there])) if there.any() else None

    def error(self, users: Sequence[Hashable]) -> float | None:
        """The standard error of `value`, when `users` (n,), who say whose each target is, are what is drawn; None without one."""
        there = np.flatnonzero(self.weighing)
        whose = [users[i] for i in there]
        return standard_error(self.each[there], self.weighing[there], whose) if whose else None

    def at(self, places) -> Values:
        """Those of the targets at these places."""
        return Values(self.runs[..., places], None if self.weights is None else self.weights[places])

    def beside(self, other: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """These, the `other`'s, and how much their difference counts in a mean, (n,) each: averaged over the seeds at which both
        have a value, of which every pair counts alike or by the weights; NaN and 0 where there is no such seed."""
        both = np.isfinite(self.runs) & np.isfinite(other.runs)
        return _averaged(self.runs, both), _averaged(other.runs, both), self._weighing(both)

    def _weighing(self, there: np.ndarray) -> np.ndarray:
        return np.atleast_2d(there).mean(axis=0) * (1.0 if self.weights is None else self.weights)


def _averaged(runs: np.ndarray, there: np.ndarray) -> np.ndarray:
    counts = np.atleast_2d(there).sum(axis=0)
    sums = np.atleast_2d(np.where(there, runs, 0.0)).sum(axis=0)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
