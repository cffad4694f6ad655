"""How well a method foresees the real review: its negative log-likelihood under the frozen backbone.

Both scorers have `name`, `max_answer_tokens` and `likelihoods`; one limit for all methods, whatever room their prompts leave:
only then do they answer for the same tokens. `at_once`: a prompt that was just written to is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice

import numpy as np

from depcli.backbones.sequence import Encoded, encode, grain_of, micro_batches, target_losses
from depcli.engines.checks import check_foreseen
from depcli.errors import Incompatible
from depcli.records import Likelihood, SoftPrompt, Vectors

_WINDOW = 64  # requests that are sorted by length together, and all that is in memory at once
Asked = Iterable[tuple[SoftPrompt, str]]


class EngineScorer:
    """The engine that writes (llama.cpp), text by text: of the weights it has, whatever their precision."""

    def __init__(self, engine, max_answer_tokens: int = 2048):
        self._engine, self.max_answer_tokens = engine, max_answer_tokens
        self.name: str = engine.name
        self.at_once: bool = engine.together == 1  # else the next text is under way when one is finished

    def likelihoods(self, asked: Asked) -> Iterator[Likelihood]:
        """Of each text after its prompt, in order. Raises Incompatible, see LlamaCppEngine.likelihood."""
        for prompt, text in asked:
            yield self._engine.likelihood(prompt, text, self.max_answer_tokens)


class WeightsScorer:
    """A frozen Hugging Face causal LM, in batches. `load` is called when the first likelihood is asked for: until then the device
    is the writer's."""

    name, at_once = "transformers", False

    def __init__(self, load: Callable[[], object], tokenizer, max_answer_tokens: int = 2048):
        self._load, self._tokenizer, self.max_answer_tokens = load, tokenizer, max_answer_tokens

    @cached_property
    def model(self):
        return self._load()

    def likelihoods(self, asked: Asked, *, max_tokens: int = 4096) -> Iterator[Likelihood]:
        """Of each text after its prompt, in order; at most 64 are taken ahead.

        Batches are sorted by length and have at most `max_tokens` padded positions (a longer sequence goes alone). Raises
        Incompatible when a sequence is longer than the backbone's context or soft tokens have another width than the backbone.
        """
        asked = iter(asked)
        while window := list(islice(asked, _WINDOW)):
            encoded = [self._encode(prompt, text) for prompt, text in window]
            results: list[Likelihood | None] = [None] * len(window)
            for batch in micro_batches([len(entry.ids) for entry, _ in encoded], max_tokens, grain_of(self.model)):
                nats = _sums(self.model, [encoded[i][0] for i in batch], [window[i][0] for i in batch])
                for i, value in zip(batch, nats, strict=True):
                    entry, cut = encoded[i]
                    results[i] = Likelihood(value, entry.targets, cut)
            yield from results

    def _encode(self, prompt: SoftPrompt, text: str) -> tuple[Encoded, bool]:
        width, config = prompt.width, self.model.config
        if width is not None and width != config.hidden_size:
            raise Incompatible(
                f"soft tokens are {width} wide, but the scoring backbone needs {config.hidden_size}",
                "score with the backbone that the adapter was trained for",
            )
        encoded = encode(prompt.parts, self._tokenizer, text, self.max_answer_tokens)
        check_foreseen(len(encoded.ids) - encoded.targets, encoded.targets, config.max_position_embeddings)
        return encoded, bool(encoded.ids[-1] != self._tokenizer.eos_token_id)


def _sums(model, batch: list[Encoded], prompts: list[SoftPrompt]) -> list[float]:
    """Sum of target losses of each sequence of a batch, in nats."""
    import torch

    blocks = [part.rows for prompt in prompts for part in prompt.parts if isinstance(part, Vectors)]
    with torch.inference_mode():
        rows = torch.from_numpy(np.concatenate(blocks)).to(model.device) if blocks else None
        losses = target_losses(model, batch, rows).double().cpu().numpy()
    ends = np.cumsum([entry.targets for entry in batch])
    return [float(part.sum()) for part in np.split(losses, ends[:-1])]
