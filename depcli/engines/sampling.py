"""How every engine picks the next token: temperature, then nucleus (top-p), then one seeded draw.

One rule in one place, so that the same seed, prompt and backbone mean the same draws whatever the engine and the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from depcli.errors import DepError
from depcli.records import Sampling, SoftPrompt

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_DEPTHS = (6.0, 8.0, 10.0, np.inf)  # nats behind the likeliest token: how far down it is looked for a nucleus
_DIVISIBLE = 1e-30, 1e30  # temperatures between these float32 can divide by


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
            raise not_a_number()
        if self.sampling.temperature <= 0:
            return best
        ids, mass = nucleus(logits, self.sampling.temperature, self.sampling.top_p)
        drawn = np.searchsorted(mass, self._random.random() * mass[-1], side="right")
        return int(ids[min(int(drawn), len(ids) - 1)])

    def take(self, token: int) -> None:
        """Note a token that was written; one that ends the text is not."""
        if self._constraint:
            self._constraint.take(token)


def sampler_for(prompt: SoftPrompt, sampling: Sampling, grammar: Callable[[], LLTokenizer]) -> Sampler:
    """The sampler of one completion; `grammar` makes the vocabulary as llguidance reads it, which only a schema needs."""
    if sampling.schema is None:
        return Sampler(sampling)
    from depcli.engines.constraint import Constraint, opens_thought

    return Sampler(sampling, Constraint(grammar(), sampling.schema, thinking=opens_thought(prompt)))


def not_a_number() -> DepError:
    """What is wrong with logits that are none."""
    return DepError("the backbone's output is not a number", "fetch the weights again, or use another --engine")


def negative_log_likelihood(logits: np.ndarray, tokens: np.ndarray) -> float:
    """The sum over rows, in nats, of logits (n, V) float32 for tokens (n,): log of the sum of all exponentials, minus the token's
    own."""
    highest = logits.max(axis=1)
    total = np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)
    own = logits[np.arange(len(tokens)), tokens].astype(np.float64)
    return float((np.log(total) + highest - own).sum())


def nucleus(logits: np.ndarray, temperature: float, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """The smallest set of likeliest tokens whose probability reaches `top_p`: ids, likeliest first, and cumulated probability.

    The sum that the probabilities are shares of is made in float32 (right to some 1e-7): in float64 the exponentials of a large
    vocabulary take several times as long as all else."""
    highest = logits.max()
    with np.errstate(over="ignore"):  # near temperature 0 all but the likeliest are infinitely far behind
        weights = np.exp((logits - highest) / np.float32(np.clip(temperature, *_DIVISIBLE)))
        total = weights.sum(dtype=np.float64)
        for depth in _DEPTHS:
            ids = (logits > np.float32(highest - depth * temperature)).nonzero()[0]
            probabilities = np.exp((logits[ids].astype(np.float64) - highest) / temperature) / total
            if probabilities.sum() >= top_p:
                break
    order = _likeliest_first(probabilities)
    mass = probabilities[order].cumsum()
    kept = min(int(mass.searchsorted(top_p)) + 1, len(ids))
    return ids[order[:kept]], mass[:kept]


def _likeliest_first(probabilities: np.ndarray) -> np.ndarray:
    """The order (n,) of probabilities (n,) from large to small, equals as they stand."""
    order = np.argsort(-probabilities)  # several times as quick as a stable sort, which only equals need
    ranked = probabilities[order]
    return np.argsort(-probabilities, kind="stable") if (ranked[1:] == ranked[:-1]).any() else order
