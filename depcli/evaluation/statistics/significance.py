"""Is one method better than another, or was it the draw of the users? Paired bootstrap intervals, paired permutation tests, and
Holm's correction of several of these.

Everywhere users are what is drawn: several requests of one user resemble each other and are no independent evidence. Only where
there is one user alone are these drawn (`drawn`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
FLIPS = 20_000
ALPHA = 0.05
_CHUNK = 4_000_000  # indices drawn at once: 32 MB
_SAME = 1e-9  # relative: sums that differ by less are equal, but for the order in which they were added up


@dataclass(frozen=True)
class Interval:
    """A mean difference and the percentile interval of its bootstrap distribution over `groups` of requests (see `drawn`); of one
    group there is nothing to draw, and so no interval."""

    difference: float
    low: float | None
    high: float | None
    confidence: float
    requests: int
    groups: int
    resamples: int
    seed: int

    @property
    def clear(self) -> bool:
        """Whether there is an interval, and it leaves zero out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def paired_bootstrap(
    a,
    b,
    weights=None,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of a - b over the same n requests, and where it lies when what they are drawn from is drawn again.

    `a`, `b` (n,) are values per request. `weights` (n,), such as token counts, make it sum(w (a - b)) / sum(w), weights drawn
    with their requests. `groups` (n,) says whose each request is: several of one user resemble each other, so users are drawn,
    with replacement, each with all their requests; None takes each request for a group of its own. Raises ValueError for
    arrays of different lengths, empty ones, NaN, or weights that are not positive.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    weights = np.ones(a.shape) if weights is None else np.asarray(weights, np.float64)
    groups = range(len(a)) if groups is None else groups
    if a.ndim != 1 or not len(a) or not a.shape == b.shape == weights.shape == (len(groups),):
        lengths = f"{a.shape}, {b.shape}, {weights.shape}, ({len(groups)},)"
        raise ValueError(f"paired values need one and the same length, not {lengths}")
    differences = weights * (a - b)
    if not np.isfinite(differences).all() or not (weights > 0).all():
        raise ValueError("paired values must be finite, and weights positive")
    differences, weights = sums_by(groups, differences), sums_by(groups, weights)
    n = len(weights)
    means = [differences[drawn].sum(axis=1) / weights[drawn].sum(axis=1) for drawn in draws(n, resamples, seed)]
    return interval_of(float(differences.sum() / weights.sum()), np.concatenate(means), len(a), n, confidence, seed)


def draws(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`resamples` draws of n from n with replacement, int64 (part, n) in pieces that fit into memory."""
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        yield rng.integers(n, size=(min(step, resamples - start), n))


def interval_of(difference: float, found: np.ndarray, requests: int, groups: int, confidence: float, seed: int) -> Interval:
    """The percentile interval of the differences `found` in resamples, (resamples,); none where there was one group to draw."""
    if groups < 2:
        return Interval(difference, None, None, confidence, requests, groups, len(found), seed)
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(difference, float(low), float(high), confidence, requests, groups, len(found), seed)


def drawn(users: Sequence[str]) -> Sequence[Hashable]:
    """What is drawn (n,), of `users` (n,), who say whose each request is: users, or where all are one user's, each request, and
    then what comes out is about this user alone."""
    return users if len(set(users)) > 1 else range(len(users))


def sums_by(groups: Sequence[Hashable], values) -> np.ndarray:
    """The sums (groups,) float64 of `values` (n,) over each group, groups in the order in which they first appear."""
    place: dict[Hashable, int] = {}
    of = [place.setdefault(group, len(place)) for group in groups]
    return np.bincount(of, values, len(place))


def standard_error(values, weights=None, groups: Sequence[Hashable] | None = None) -> float | None:
    """Of the (weighted) mean of `values` (n,), when groups are what is drawn: each with all its values, as in `paired_bootstrap`.

    With r_g the sum of w (x - mean) over group g it is sqrt(G / (G - 1) * sum_g r_g^2) / sum w, which is the usual
    standard deviation / sqrt(n) for groups of one value each and equal weights. None for fewer than two groups.
    """
    values = np.asarray(values, np.float64)
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, np.float64)
    groups = range(len(values)) if groups is None else groups
    mean = (weights * values).sum() / weights.sum()
    rests = sums_by(groups, weights * (values - mean))
    n = len(rests)
    return None if n < 2 else float(np.sqrt(n / (n - 1) * (rests**2).sum()) / weights.sum())


def sign_flips(sums, *, flips: int = FLIPS, seed: int = 0) -> np.ndarray:
    """Two-sided p values (m,) of paired permutation tests: would the sign of each user's difference be a coin toss?

    `sums` (users, m) float are what each user adds to each of m differences, 0 where a user has no part in one: a method that
    is no better would have got either sign as well. The statistic is the sum over users. With at most log2(`flips`)
    users all sign patterns are gone through and p is exact; else `flips` of them are drawn, the same for all m tests, and
    p = (those at least as far from 0 as what was seen, + 1) / (flips + 1), which is never too small.
    """
    sums = np.asarray(sums, np.float64)
    n, m = sums.shape
    reached = np.abs(sums.sum(axis=0)) - _SAME * np.abs(sums).sum(axis=0)
    hits, total = np.zeros(m), 0
    exact, patterns = sign_patterns(n, flips, seed)
    for kept in patterns:
        hits += (np.abs((2.0 * kept - 1.0) @ sums) >= reached).sum(axis=0)
        total += len(kept)
    return hits / total if exact else (hits + 1) / (total + 1)


def sign_patterns(n: int, flips: int, seed: int) -> tuple[bool, Iterator[np.ndarray]]:
    """(whether these are all there are, 0 or 1 for each of n users, int64 (part, n) in pieces that fit into memory): all 2^n
    patterns where they are no more than `flips`, else so many drawn ones."""
    exact = 2**n <= flips
    total, step = 2**n if exact else flips, max(1, _CHUNK // max(1, n))

    def pieces() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(seed)
        for start in range(0, total, step):
            size = min(step, total - start)
            if exact:
                yield (np.arange(start, start + size)[:, None] >> np.arange(n)) & 1
            else:
                yield rng.integers(2, size=(size, n))

    return exact, pieces()


def holm(p) -> np.ndarray:
    """Holm's adjusted p values (m,): rejecting those up to alpha errs anywhere among the m with at most alpha, however the tests
    depend on each other."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return adjusted
