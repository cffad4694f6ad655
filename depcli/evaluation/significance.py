"""Is one method better than another, or was it the draw of the users? Paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
_CHUNK = 4_000_000  # indices drawn at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean difference and the percentile interval of its bootstrap distribution over `groups` of requests."""

    difference: float
    low: float
    high: float
    confidence: float
    requests: int
    groups: int
    resamples: int
    seed: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    a, b, weights=None, groups: Sequence[Hashable] | None = None, *, resamples: int = RESAMPLES, confidence: float = 0.95,
    seed: int = 0,
) -> Interval:  # fmt: skip
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
    place: dict[Hashable, int] = {}
    of = [place.setdefault(group, len(place)) for group in groups]
    rng, n = np.random.default_rng(seed), len(place)
    differences, weights = (np.bincount(of, values, n) for values in (differences, weights))
    means = np.empty(resamples)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        drawn = rng.integers(n, size=(min(step, resamples - start), n))
        means[start : start + step] = differences[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(differences.sum() / weights.sum())
    return Interval(mean, float(low), float(high), confidence, len(a), n, resamples, seed)
