"""The reference engine: Hugging Face transformers, on CPU or GPU, in windows of several requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from depcli.backbones import Backbone, chat_of, fingerprint, load_model, load_tokenizer
from depcli.backbones.sequence import Encoded, embed, encode
from depcli.engines.checks import check_room, check_width
from depcli.engines.engine import Engine
from depcli.engines.sampling import Sampler, sampler_for
from depcli.engines.text import TextStream, end_tokens, text_of
from depcli.records import Completion, Sampling, SoftPrompt, Vectors

WINDOW = 8


class TransformersEngine(Engine):
    """Writes with a Hugging Face causal LM. `model` and `tokenizer` may be shared with training and scoring."""

    name = "transformers"
    together = WINDOW

    def __init__(self, model, tokenizer, backbone: Backbone):
        self.model, self.tokenizer, self.backbone = model, tokenizer, backbone
        self.chat = chat_of(tokenizer)
        self.width: int = model.config.hidden_size
        self.context: int = model.config.max_position_embeddings
        self._ends = end_tokens(model.generation_config, tokenizer)

    @classmethod
    def open(cls, backbone: Backbone, *, offline: bool = False, device: str = "auto", exact: bool = False) -> TransformersEngine:
        """The engine with `backbone` loaded; `exact` computes in float32 wherever it runs."""
        model = load_model(backbone, device=device, dtype="float32" if exact else "auto", offline=offline)
        return cls(model, load_tokenizer(backbone, offline=offline), backbone)

    @cached_property
    def identity(self) -> dict:
        return fingerprint(self.backbone, self.model.config)

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(
        self, requests: Iterable[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None = None
    ) -> Iterator[Completion]:
        """Completions in the order of `requests`, of which at most 8 are taken ahead.

        `on_text` gets the text of all completions in that order, piece by piece while a request is alone in its window.
        Raises Incompatible, BadInput.
        """
        requests = iter(requests)
        while window := list(islice(requests, WINDOW)):
            live = on_text if len(window) == 1 else None
            for completion in self._write(window, live):
                if on_text and not live:
                    on_text(completion.text)
                yield completion

    # A plain function and no generator: inference mode must not leak into whoever consumes the completions.
    @torch.inference_mode()
    def _write(self, window: Sequence[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None) -> list[Completion]:
        asked = [(self._draft(prompt, sampling), prompt) for prompt, sampling in window]
        longest = max(len(draft.encoded.ids) for draft, _ in asked) + max(draft.max_new_tokens for draft, _ in asked)
        together = len(asked) == 1 or longest <= self._kept
        for group in [asked] if together else ([one] for one in asked):
            self._fill([draft for draft, _ in group], [prompt for _, prompt in group], on_text)
        return [draft.completion(text_of(self.tokenizer, draft.tokens)) for draft, _ in asked]

    def _fill(self, drafts: Sequence[_Draft], prompts: Sequence[SoftPrompt], on_text: Callable[[str], None] | None) -> None:
        """Write these drafts side by side to their ends."""
        started = time.perf_counter()
        stream = TextStream(self.tokenizer, on_text) if on_text else None
        rows = [part.rows for prompt in prompts for part in prompt.parts if isinstance(part, Vectors)]
        active = drafts
        for logits in self._steps(drafts, rows):
            for draft, row in zip(active, logits, strict=True):
                draft.take(row, self._ends)
                draft.seconds = time.perf_counter() - started
            if stream:
                stream.feed(drafts[0].tokens, last=drafts[0].finish is not None)
            active = [draft for draft in active if not draft.finish]

    def _draft(self, prompt: SoftPrompt, sampling: Sampling) -> _Draft:
        check_width(prompt, self.width, self.backbone.name)
        encoded = encode(prompt.parts, self.tokenizer)
        check_room(len(encoded.ids), sampling.max_new_tokens, self.context, self.backbone.name)
        return _Draft(encoded, sampling.max_new_tokens, sampler_for(prompt, sampling, lambda: self._grammar))

    @cached_property
    def _grammar(self):
        """The vocabulary as llguidance reads it."""
        from llguidance.hf import from_tokenizer

        return from_tokenizer(self.tokenizer, eos_token=sorted(self._ends))

    @cached_property
    def _kept(self) -> float:
        """How many positions every layer keeps. Beyond them one that slides over a window would keep the padding of shorter
        prompts in the place of their words, and one that keeps a state (0) always does."""
        one = embed(self.model, [Encoded(np.zeros(1, np.int32), np.zeros(0, np.int32))], None)
        layers = getattr(self.model(inputs_embeds=one, use_cache=True).past_key_values, "layers", [None])
        kept = {DynamicLayer: lambda _: np.inf, DynamicSlidingWindowLayer: lambda layer: layer.sliding_window}
        return min(kept.get(type(layer), lambda _: 0)(layer) for layer in layers)

    def _steps(self, drafts: Sequence[_Draft], rows: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits (drafts not finished, vocabulary) of the next token, again and again until all are finished."""
        device = self.model.device
        soft = torch.from_numpy(np.concatenate(rows)).to(device) if rows else None
        positions = torch.tensor([len(draft.encoded.ids) for draft in drafts], device=device)
        # Padding stands right of a prompt, as in training: causal attention keeps it out of the prompt, the mask out of what
        # follows, and positions go on from the prompt's own end.
        embeds = embed(self.model, [draft.encoded for draft in drafts], soft)
        mask = torch.arange(embeds.shape[1], device=device) < positions[:, None]
        ends, place = torch.unique(positions - 1, return_inverse=True)
        out = self.model(inputs_embeds=embeds, use_cache=True, logits_to_keep=ends)
        logits, cache = out.logits[torch.arange(len(drafts), device=device), place], out.past_key_values
        while True:
            # Ids from len(tokenizer) on are padding of the vocabulary and have no text.
            yield logits[:, : len(self.tokenizer)].float().cpu().numpy()
            kept = [i for i, draft in enumerate(drafts) if not draft.finish]
            if not kept:
                return
            if len(kept) < len(drafts):
                drafts, chosen = [drafts[i] for i in kept], torch.tensor(kept, device=device)
                positions, mask = positions[chosen], mask[chosen]
                cache.batch_select_indices(chosen)
            mask = torch.cat([mask, mask.new_ones(len(drafts), 1)], dim=1)
            ids = torch.tensor([draft.tokens[-1:] for draft in drafts], device=device)
            out = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions[:, None], past_key_values=cache, use_cache=True
            )
            logits, positions = out.logits[:, -1], positions + 1

    def close(self) -> None:
        self.model = None


@dataclass
class _Draft:
    """One completion in the making."""

    encoded: Encoded
    max_new_tokens: int
    sampler: Sampler
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    seconds: float = 0.0

    def take(self, logits: np.ndarray, ends: frozenset[int]) -> None:
        token = self.sampler.pick(logits)
        if token in ends:
            self.finish = "stop"
            return
        self.sampler.take(token)
        self.tokens.append(token)
        if len(self.tokens) == self.max_new_tokens:
            self.finish = "length"

    def completion(self, text: str) -> Completion:
        return Completion(text, self.finish, len(self.encoded.ids), len(self.tokens), self.seconds, tuple(self.tokens))
