"""Texts to an encoder in batches of similar length, results in the order of the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def encode_by_length(
    texts: Sequence[str], encode: Callable[[list[str]], np.ndarray], dimension: int, batch_size: int
) -> np.ndarray:
    """(n, dimension) float32 from `encode`, called on batches of `batch_size` texts sorted by length (little padding)."""
    vectors = np.empty((len(texts), dimension), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        vectors[rows] = encode([texts[i] for i in rows])
    if not np.isfinite(vectors).all():
        raise FloatingPointError("the embedder returned a vector that is not finite")
    return vectors
