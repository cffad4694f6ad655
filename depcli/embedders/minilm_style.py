"""minilm joined with style: what a text says and how it is written, 512-d, no network at any time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from depcli.embedders.minilm import MiniLM
from depcli.embedders.style import projection
from depcli.records import EmbedderIdentity

NAME = "minilm+style"
_STYLE = 2.0  # length of the style part beside minilm's 1


class MiniLMStyle:
    """The unit vector of minilm, then twice the unit vector of style, scaled to length one. minilm runs once for both."""

    def __init__(self):
        self._minilm = MiniLM()
        self._project, digest = projection.load()
        minilm = self._minilm.identity
        self.identity = EmbedderIdentity(
            NAME, f"{minilm.revision}, style {digest}", minilm.dimension + self._project.matrix.shape[1]
        )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (n, 512) float32."""
        if not texts:
            return np.empty((0, self.identity.dimension), np.float32)
        layers = self._minilm.layer_means(texts, projection.LAYERS)
        last = layers[:, -1]
        topic = last / np.linalg.norm(last, axis=1, keepdims=True)
        style = self._project(projection.inputs(texts, layers))
        return np.concatenate([topic, _STYLE * style], axis=1) / np.float32(np.hypot(1, _STYLE))
