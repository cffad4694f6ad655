"""Metrics that are of all texts together, as BLEU is: the same intervals and tests as of means, with sums in their place.

Drawing users draws the counts of their texts; the metric is computed of what was drawn (Koehn, 2004). In the permutation test a
user's texts by one method take the place of those by the other (approximate randomization: Riezler and Maxwell, 2005).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from depcli.evaluation.statistics.significance import FLIPS, RESAMPLES, Interval, draws, interval_of, sign_patterns, sums_by

_SAME = 1e-9  # of the scale of the metric: what summing in another order may change


@dataclass(frozen=True, eq=False)
class Counts:
    """One such metric of one method: `rows` (seeds, n, k) are what the text of each target adds to k sums, by sampling seed; `of`
    makes values (...,) of sums (..., k). Its value is the mean over the seeds."""

    rows: np.ndarray
    of: Callable[[np.ndarray], np.ndarray]

    def value(self) -> float:
        return float(self.of(self.rows.sum(axis=1)).mean())

    def by(self, groups: Sequence[Hashable]) -> np.ndarray:
        """The sums of each group (seeds, groups, k), groups in the order in which they first appear."""
        return np.apply_along_axis(lambda column: sums_by(groups, column), 1, self.rows)


def corpus_error(counts: Counts, groups: Sequence[Hashable]) -> float | None:
    """The standard error of the value when groups are what is drawn, by the jackknife: sqrt((G - 1) / G * sum of the squared
    distances of the values without one group each from their mean). None for fewer than two groups."""
    sums = counts.by(groups)
    n = sums.shape[1]
    if n < 2:
        return None
    without = counts.of(sums.sum(axis=1, keepdims=True) - sums).mean(axis=0)
    return float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))


def corpus_bootstrap(
    a: Counts, b: Counts, groups: Sequence[Hashable], *, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The value of a minus that of b over the same n targets, and where it lies when `groups` (n,) are drawn again, as in
    significance.paired_bootstrap, with the same draws."""
    ours, theirs = a.by(groups), b.by(groups)
    found = [
        a.of(times @ ours).mean(axis=0) - b.of(times @ theirs).mean(axis=0) for times in _times(ours.shape[1], resamples, seed)
    ]
    return interval_of(a.value() - b.value(), np.concatenate(found), len(groups), ours.shape[1], confidence, seed)


def corpus_flips(a: Counts, b: Counts, groups: Sequence[Hashable], *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p of the permutation test: would it be a coin toss which method a user's texts are from? Exact, or drawn, as in
    significance.sign_flips."""
    ours, theirs = a.by(groups), b.by(groups)
    reached, hits, total = abs(a.value() - b.value()), 0, 0
    reached -= _SAME * max(abs(a.value()), abs(b.value()))
    exact, patterns = sign_patterns(ours.shape[1], flips, seed)
    whole = (ours + theirs).sum(axis=1, keepdims=True)
    for kept in patterns:
        first = theirs.sum(axis=1, keepdims=True) + kept.astype(np.float64) @ (ours - theirs)
        second = whole - first
        hits += int((np.abs(a.of(first).mean(axis=0) - b.of(second).mean(axis=0)) >= reached).sum())
        total += len(kept)
    return hits / total if exact else (hits + 1) / (total + 1)


def _times(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n groups is drawn, (resamples, n) in pieces."""
    for drawn in draws(n, resamples, seed):
        places = drawn + n * np.arange(len(drawn))[:, None]
        yield np.bincount(places.ravel(), minlength=len(drawn) * n).reshape(len(drawn), n).astype(np.float64)
