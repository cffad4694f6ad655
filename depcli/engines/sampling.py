"""How every engine picks the next token: temperature, then nucleus (top-p), then one seeded draw.

One rule in one place, so that the same seed, prompt and backbone mean the same draws whatever the engine and the batch.
"""

from __future__ import annotations

import numpy as np

from depcli.errors import DepError
from depcli.records import Sampling

_FIRST_CANDIDATES = 256


class Sampler:
    """Picks the tokens of one completion. Holds its own random stream, seeded by `sampling.seed`.

    `constraint` says which tokens keep to `sampling.schema`; see engines.constraint.
    """

    def __init__(self, sampling: Sampling, constraint=None):
        self.sampling, self._constraint = sampling, constraint
        # Named, not default_rng: NumPy may change its default, never the stream of a named generator.
        self._random = np.random.Generator(np.random.PCG64(sampling.seed))

    def pick(self, logits: np.ndarray) -> int:
        """A token id for `logits` (V,) float32, -inf where a token is not allowed. Ties go to the lower id."""
        if self._constraint:
            logits = self._constraint.narrow(logits)
        best = int(np.argmax(logits))
        if not np.isfinite(logits[best]):
            raise DepError("the backbone's output is not a number", "fetch the weights again, or use another --engine")
        if self.sampling.temperature <= 0:
            return best
        ids, mass = nucleus(logits, self.sampling.temperature, self.sampling.top_p)
        drawn = np.searchsorted(mass, self._random.random() * mass[-1], side="right")
        return int(ids[min(int(drawn), len(ids) - 1)])

    def take(self, token: int) -> None:
        """Note a token that was written; one that ends the text is not."""
        if self._constraint:
            self._constraint.take(token)


def nucleus(logits: np.ndarray, temperature: float, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """The smallest set of likeliest tokens whose probability reaches `top_p`: ids, likeliest first, and cumulated probability."""
    behind = logits.astype(np.float64) - float(logits.max())
    with np.errstate(over="ignore"):  # near temperature 0 all but the likeliest are infinitely far behind
        weights = np.exp(behind / temperature)
    probabilities = weights / weights.sum()
    size = len(logits)
    count = min(_FIRST_CANDIDATES, size)
    while True:  # sorting a whole vocabulary of 150,000 costs more than a small model's step
        ids = np.arange(size) if count == size else np.argpartition(-probabilities, count - 1)[:count]
        ids = ids[np.lexsort((ids, -probabilities[ids]))]
        mass = np.cumsum(probabilities[ids])
        if mass[-1] >= top_p or count == size:
            break
        count = min(count * 16, size)
    kept = min(int(np.searchsorted(mass, top_p)) + 1, size)
    return ids[:kept], mass[:kept]
