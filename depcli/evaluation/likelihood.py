"""How well a method foresees the real review: its negative log-likelihood under the frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from depcli.backbones.sequence import Encoded, encode, grain_of, micro_batches, target_losses
from depcli.errors import Incompatible
from depcli.records import SoftPrompt, Vectors

_WINDOW = 64  # requests that are sorted by length together, and all that is in memory at once


@dataclass(frozen=True, eq=False)
class Scorer:
    """A backbone to score with: a frozen Hugging Face causal LM, its tokenizer, and the longest review that is scored.

    One limit for all methods, whatever room their prompts leave: only then do they answer for the same tokens.
    """

    model: object
    tokenizer: object
    max_answer_tokens: int = 2048


class LateScorer:
    """A Scorer whose backbone is loaded when the first likelihood is asked for: until then the device is the writer's."""

    def __init__(self, load: Callable[[], object], tokenizer, max_answer_tokens: int):
        self._load, self.tokenizer, self.max_answer_tokens = load, tokenizer, max_answer_tokens

    @cached_property
    def model(self):
        return self._load()


@dataclass(frozen=True)
class Likelihood:
    """Of one real review: the sum of its tokens' negative log-likelihoods in nats, the number of those tokens (end of turn
    included), and whether it was cut to the scorer's limit."""

    nats: float
    tokens: int
    cut: bool


def nll(scorer: Scorer | LateScorer, pairs: Iterable[tuple[SoftPrompt, str]], *, max_tokens: int = 4096) -> Iterator[Likelihood]:
    """The likelihood of each text after its prompt, in the order of `pairs`, of which at most 64 are taken ahead.

    Batches are sorted by length and have at most `max_tokens` padded positions (a longer sequence goes alone). Raises
    Incompatible when a sequence is longer than the backbone's context or soft tokens have another width than the backbone.
    """
    pairs = iter(pairs)
    while window := list(islice(pairs, _WINDOW)):
        encoded = [_encode(scorer, prompt, text) for prompt, text in window]
        results: list[Likelihood | None] = [None] * len(window)
        for batch in micro_batches([len(entry.ids) for entry, _ in encoded], max_tokens, grain_of(scorer.model)):
            nats = _sums(scorer.model, [encoded[i][0] for i in batch], [window[i][0] for i in batch])
            for i, value in zip(batch, nats, strict=True):
                entry, cut = encoded[i]
                results[i] = Likelihood(value, entry.targets, cut)
        yield from results


def _encode(scorer: Scorer | LateScorer, prompt: SoftPrompt, text: str) -> tuple[Encoded, bool]:
    width, config = prompt.width, scorer.model.config
    if width is not None and width != config.hidden_size:
        raise Incompatible(
            f"soft tokens are {width} wide, but the scoring backbone needs {config.hidden_size}",
            "score with the backbone that the adapter was trained for",
        )
    encoded = encode(prompt.parts, scorer.tokenizer, text, scorer.max_answer_tokens)
    context = getattr(config, "max_position_embeddings", None)
    if context and len(encoded.ids) > context:
        raise Incompatible(
            f"a prompt and its real review have {len(encoded.ids):,} tokens; the backbone's context has {context:,}",
            "use a backbone that holds more, or train with shorter prompts: dep train --max-input-tokens N",
        )
    return encoded, bool(encoded.ids[-1] != scorer.tokenizer.eos_token_id)


def _sums(model, batch: list[Encoded], prompts: list[SoftPrompt]) -> list[float]:
    """Sum of target losses of each sequence of a batch, in nats."""
    import torch

    blocks = [part.rows for prompt in prompts for part in prompt.parts if isinstance(part, Vectors)]
    with torch.inference_mode():
        rows = torch.from_numpy(np.concatenate(blocks)).to(model.device) if blocks else None
        losses = target_losses(model, batch, rows).double().cpu().numpy()
    ends = np.cumsum([entry.targets for entry in batch])
    return [float(part.sum()) for part in np.split(losses, ends[:-1])]
