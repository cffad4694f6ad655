"""The local engine: llama.cpp on a GGUF file. Needs no PyTorch and no Hugging Face weights at run time."""

from __future__ import annotations

import codecs
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from depcli.backbones.catalogue import Backbone
from depcli.backbones.fetch import gguf_file
from depcli.backbones.fingerprint import gguf_revision
from depcli.chat import Chat
from depcli.engines.checks import check_foreseen, check_room, check_width
from depcli.engines.engine import Engine
from depcli.engines.llama.context import LlamaContext, Piece
from depcli.engines.llama.kept_states import KeptStates
from depcli.engines.llama.model import LlamaModel
from depcli.engines.sampling import Sampler, negative_log_likelihood, not_a_number, sampler_for
from depcli.engines.tuning import USUAL, Tuning
from depcli.errors import DepError, Incompatible
from depcli.records import Completion, Likelihood, Sampling, SoftPrompt, Text

# Tokenizers whose first step is Unicode composition (NFC), which llama.cpp leaves to its caller.
_COMPOSED = frozenset({"qwen2"})
_WAVES = 4  # times as many requests as are written side by side are computed together: a new one begins wherever another ends


class LlamaCppEngine(Engine):
    """Writes with llama.cpp, `tuning.parallel` requests side by side: one, and each text is what it is alone, to the bit; more,
    and a batch of them is done sooner. `exact` keeps keys and values in float32. `kept` are prompt states of earlier
    processes. `reused` is how many positions of the last prompt were not evaluated, since one before began alike."""

    name = "llamacpp"

    def __init__(
        self,
        backbone: Backbone,
        *,
        offline: bool = False,
        device: str = "auto",
        exact: bool = False,
        tuning: Tuning = USUAL,
        kept: KeptStates | None = None,
    ):
        self.backbone = backbone
        self._parallel = tuning.parallel
        self.together = 1 if self._parallel == 1 else self._parallel * _WAVES
        self._model = LlamaModel(gguf_file(backbone, offline=offline), device=device, gpu_layers=tuning.gpu_layers)
        self.width, self.context = self._model.width, self._model.positions
        self.reused = 0
        self._active: dict[int, _Draft] = {}  # what is being written, by sequence
        self._composed = self._model.metadata("tokenizer.ggml.pre") in _COMPOSED
        weights = self.identity["gguf"] if kept else ""
        self._llama = LlamaContext(self._model, tuning, exact=exact, kept=kept, weights=weights)
        try:
            self.chat = self._chat()
        except Incompatible:
            self.close()
            raise

    def _chat(self) -> Chat:
        model = self._model
        template, self._end = model.chat_template(), model.end_token()
        if template is None or self._end < 0:
            absent = "chat template" if template is None else "end-of-turn token"
            raise Incompatible(f"{model.path} carries no {absent}", "use the GGUF of an instruct model")
        # Asked of the file: the library makes one up for files without.
        bos = model.metadata("tokenizer.ggml.bos_token_id")
        bos = model.token_text(int(bos)) if bos else ""
        chat = Chat(template, model.token_text(self._end), bos, model.special_texts())
        if (end := chat.end_of_answer()) and len(ids := model.tokenize(end)) == 1:
            (self._end,), chat = ids, replace(chat, end=end)
        return chat

    @cached_property
    def identity(self) -> dict:
        return {"name": self.backbone.name, "gguf": gguf_revision(self.backbone), "hidden_size": self.width}

    def count(self, text: str) -> int:
        return len(self._tokenize(text))

    def _tokenize(self, text: str, *, control: bool = True) -> list[int]:
        return self._model.tokenize(unicodedata.normalize("NFC", text) if self._composed else text, control=control)

    def generate(
        self, requests: Iterable[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None = None
    ) -> Iterator[Completion]:
        """Completions in the order of `requests`, each taken when a place for it is free. `on_text` gets text as it comes, or
        whole texts in that order when several are written side by side. To make a request this engine itself may be asked.

        Raises Incompatible, BadInput.
        """
        live = on_text if self._parallel == 1 else None
        self._finish()
        try:
            for completion in self._completions(iter(requests), live):
                if on_text and not live:
                    on_text(completion.text)
                yield completion
        except DepError:
            self._llama.forget()  # what went wrong, not a number perhaps, must not reach the next request
            raise

    def _completions(
        self, requests: Iterator[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None
    ) -> Iterator[Completion]:
        in_order: deque[_Draft] = deque()
        waiting, failure, more = None, None, True
        try:
            while True:
                while more and len(self._active) < self._parallel:
                    try:
                        waiting = waiting or self._next_draft(requests, on_text)
                        more = waiting is not None
                        if not more or (self._active and not self._llama.holds(waiting.positions)):
                            break  # room is made when nothing is being written
                        sequence = self._begin(waiting, [i for i in range(self._parallel) if i not in self._active])
                    except DepError as error:
                        failure, more = error, False  # what came before is still to be written
                        break
                    draft, waiting = waiting, None
                    in_order.append(draft)
                    if draft.finish:
                        break  # it is waited for
                    self._active[sequence] = draft
                self._step()
                while in_order and in_order[0].finish:
                    yield in_order.popleft().completion()
                if not self._active and not more:
                    if failure:
                        raise failure
                    return
        finally:
            self._active = {i: draft for i, draft in self._active.items() if draft not in in_order}

    def _step(self) -> None:
        """Append a token to each text that is being written."""
        if self._active:
            for sequence, logits in self._llama.feed({i: draft.tokens[-1] for i, draft in self._active.items()}).items():
                self._active[sequence].take(logits, self._model)
            self._active = {i: draft for i, draft in self._active.items() if draft.finish is None}

    def _finish(self) -> None:
        """Write to its end what is being written: who asks for something else in between gets all of the memory."""
        try:
            while self._active:
                self._step()
        except DepError:
            self._active.clear()  # the memory of the others is lost with it
            self._llama.forget()
            raise

    def _next_draft(
        self, requests: Iterator[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None
    ) -> _Draft | None:
        asked = next(requests, None)
        if asked is None:
            return None
        prompt, sampling = asked
        pieces = self._checked(prompt, sampling.max_new_tokens)
        return _Draft(pieces, sampling.max_new_tokens, sampler_for(prompt, sampling, lambda: self._grammar), on_text)

    def _begin(self, draft: _Draft, free: list[int]) -> int:
        """Read the prompt of a draft and pick its first token; returns the sequence it is in."""
        self._llama.reserve(draft.positions)
        sequence = self._llama.likeliest(draft.pieces, free)
        logits, self.reused = self._llama.read(draft.pieces, sequence)
        draft.take(logits, self._model)
        return sequence

    def _checked(self, prompt: SoftPrompt, max_new_tokens: int) -> list[Piece]:
        """A prompt as it is evaluated, once it is known to fit."""
        parts = self._parts(prompt)
        check_room(sum(map(len, parts)), max_new_tokens, self.context, self.backbone.name)
        return self._llama.pieces(parts)

    def _parts(self, prompt: SoftPrompt) -> list[list[int] | np.ndarray]:
        """Token ids and soft tokens of a prompt, in reading order."""
        check_width(prompt, self.width, self.backbone.name)
        scale = self._model.scale_of_rows
        parts = (self._tokenize(part.text) if isinstance(part, Text) else part.rows / scale for part in prompt.parts)
        return [part for part in parts if len(part)]

    @cached_property
    def _grammar(self):
        """The vocabulary as llguidance reads it: a second of work where it is large."""
        return self._model.grammar_tokenizer()

    def next_logits(self, prompt: SoftPrompt) -> np.ndarray:
        """Logits (vocabulary,) float32 of the token that would follow `prompt`, to compare engines; -inf for unused ids."""
        pieces = self._checked(prompt, 1)
        self._finish()
        self._llama.reserve(sum(map(len, pieces)) + 1)
        logits, self.reused = self._llama.read(pieces)
        logits[self._model.unused] = -np.inf
        return logits

    def likelihood(self, prompt: SoftPrompt, text: str, max_tokens: int) -> Likelihood:
        """How well the backbone foresees `text` after `prompt`. The text is data: control tokens in it are read as letters. The
        end of the turn follows it unless it is longer than `max_tokens`. A prompt that was just written to is not read again.

        Raises Incompatible when both are longer than the context or the soft tokens have another width than the backbone.
        """
        whole = [*self._tokenize(text, control=False), self._end]
        wanted = np.array(whole[:max_tokens], np.int32)
        parts = self._parts(prompt)
        length = sum(map(len, parts))
        check_foreseen(length, len(wanted), self.context)
        pieces = self._llama.pieces(parts)
        self._finish()
        self._llama.reserve(length + len(wanted))
        sequence = self._llama.likeliest(pieces, range(self._parallel))
        logits, self.reused = self._llama.read(pieces, sequence)
        nats, at = negative_log_likelihood(logits[None], wanted[:1]), 1
        for block in self._llama.follow(wanted[:-1], sequence):
            nats += negative_log_likelihood(block, wanted[at : at + len(block)])
            at += len(block)
        if not np.isfinite(nats):
            self._llama.forget()
            raise not_a_number()
        return Likelihood(nats, len(wanted), len(wanted) < len(whole))

    def close(self) -> None:
        vars(self).pop("_grammar", None)  # it points into the model's vocabulary
        self._llama.close()
        self._model.close()


@dataclass(eq=False)
class _Draft:
    """One text on its way: its prompt in pieces, and the tokens so far."""

    pieces: list[Piece]
    max_new_tokens: int
    sampler: Sampler
    on_text: Callable[[str], None] | None
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    _texts: list[str] = field(default_factory=list)
    _characters: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    @property
    def length(self) -> int:
        """Positions of the prompt."""
        return sum(map(len, self.pieces))

    @property
    def positions(self) -> int:
        """Positions that the prompt and the longest text may take."""
        return self.length + self.max_new_tokens

    def take(self, logits: np.ndarray, model: LlamaModel) -> None:
        """Pick the next token, which has a text; `finish` is set when it was the last. Overwrites `logits`."""
        logits[model.unused] = -np.inf
        token = self.sampler.pick(logits)
        if model.ends(token):
            self.finish = "stop"
        else:
            self.sampler.take(token)
            self.tokens.append(token)
            self._say(self._characters.decode(model.piece(token)))
            if len(self.tokens) == self.max_new_tokens:
                self.finish = "length"
        if self.finish:
            self._say(self._characters.decode(b"", final=True))
            self.seconds = time.perf_counter() - self.started

    def _say(self, text: str) -> None:
        self._texts.append(text)
        if self.on_text and text:
            self.on_text(text)

    def completion(self) -> Completion:
        return Completion("".join(self._texts), self.finish, self.length, len(self.tokens), self.seconds, tuple(self.tokens))
