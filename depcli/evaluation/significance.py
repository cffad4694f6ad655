"""Is one method better than another, or was it the draw of the requests? Paired bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
_CHUNK = 4_000_000  # indices drawn at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean difference and the percentile interval of its bootstrap distribution."""

    difference: float
    low: float
    high: float
    confidence: float
    requests: int
    resamples: int
    seed: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(a, b, weights=None, *, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of a - b over the same n requests, and where it lies when the requests are drawn again with replacement.

    `a`, `b` (n,) are values per request. `weights` (n,), such as token counts, make it sum(w (a - b)) / sum(w), weights drawn
    with their requests. Raises ValueError for arrays of different lengths, empty ones, NaN, or weights that are not positive.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    weights = np.ones(a.shape) if weights is None else np.asarray(weights, np.float64)
    if a.ndim != 1 or not len(a) or not a.shape == b.shape == weights.shape:
        raise ValueError(f"paired values need one and the same length, not {a.shape}, {b.shape}, {weights.shape}")
    differences = weights * (a - b)
    if not np.isfinite(differences).all() or not (weights > 0).all():
        raise ValueError("paired values must be finite, and weights positive")
    rng, n = np.random.default_rng(seed), len(a)
    means = np.empty(resamples)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        drawn = rng.integers(n, size=(min(step, resamples - start), n))
        means[start : start + step] = differences[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(differences.sum() / weights.sum()), float(low), float(high), confidence, n, resamples, seed)
