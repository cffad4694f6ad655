"""A linear map from a text to what tells its author apart, fitted in closed form (recipes/style.py) and bundled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depcli.embedders.style.features import features

WEIGHTS = Path(__file__).parent / "weights" / "style.safetensors"
LAYERS = (1, 3, 6)  # of minilm: the early ones know more of the wording
_FARTHEST = 5.0  # standard deviations: a freak among the inputs shall not rule the vector


def inputs(texts: Sequence[str], layers: np.ndarray) -> np.ndarray:
    """(n, i) float32 of texts and the means (n, len(LAYERS), d) of their hidden states."""
    counted = np.stack([features(text) for text in texts])
    return np.concatenate([counted, layers.reshape(len(texts), -1)], axis=1)


@dataclass(frozen=True, eq=False)
class Projection:
    """`mean` and `deviation` (i,) float32 of the inputs in the reviews it was fitted to, `matrix` (i, d) float16."""

    mean: np.ndarray
    deviation: np.ndarray
    matrix: np.ndarray

    def standardized(self, rows: np.ndarray) -> np.ndarray:
        """(n, i) float32 in standard deviations from the mean."""
        return np.clip((rows - self.mean) / self.deviation, -_FARTHEST, _FARTHEST)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Unit rows (n, d) float32 of inputs (n, i)."""
        projected = self.standardized(rows) @ self.matrix.astype(np.float32)
        return projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)


def load() -> tuple[Projection, str]:
    """(the bundled projection, the first digits of the sha256 of its file)."""
    from safetensors.numpy import load as parse

    data = WEIGHTS.read_bytes()
    return Projection(**parse(data)), hashlib.sha256(data).hexdigest()[:12]
