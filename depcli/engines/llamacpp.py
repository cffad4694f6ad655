"""The local engine: llama.cpp on a GGUF file. Needs no PyTorch and no Hugging Face weights at run time."""

from __future__ import annotations

import codecs
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from depcli.backbones.catalogue import Backbone
from depcli.backbones.fetch import gguf_file
from depcli.engines.checks import check_room, check_width
from depcli.engines.llama_context import LlamaContext
from depcli.engines.sampling import Sampler
from depcli.errors import DepError, Incompatible
from depcli.personal.template import Chat
from depcli.records import Completion, Sampling, SoftPrompt, Text

# Tokenizers whose first step is Unicode composition (NFC), which llama.cpp leaves to its caller.
_COMPOSED = frozenset({"qwen2"})


class LlamaCppEngine:
    """Writes with llama.cpp, one request after the other. `exact` keeps keys and values in float32. `reused` is how many
    positions of the last prompt were not evaluated, since the one before began alike."""

    name = "llamacpp"
    together = 1

    def __init__(self, backbone: Backbone, *, offline: bool = False, device: str = "auto", exact: bool = False):
        self.backbone = backbone
        self._llama = LlamaContext(gguf_file(backbone, offline=offline), device=device, exact=exact)
        self.width, self.context = self._llama.width, self._llama.positions
        self.reused = 0
        self._grammar = None  # made when a schema is asked for: it takes a second with a large vocabulary
        self._composed = self._llama.metadata("tokenizer.ggml.pre") in _COMPOSED
        try:
            self.chat = self._chat()
        except Incompatible:
            self.close()
            raise

    def _chat(self) -> Chat:
        llama = self._llama
        template, end = llama.chat_template(), llama.end_token()
        if template is None or end < 0:
            absent = "chat template" if template is None else "end-of-turn token"
            raise Incompatible(f"{llama.path} carries no {absent}", "use the GGUF of an instruct model")
        # Asked of the file: the library makes one up for files without.
        bos = llama.metadata("tokenizer.ggml.bos_token_id")
        return Chat(template, llama.token_text(end), llama.token_text(int(bos)) if bos else "", llama.special_texts())

    def count(self, text: str) -> int:
        """Tokens in a piece of prompt text."""
        return len(self._tokenize(text))

    def _tokenize(self, text: str) -> list[int]:
        return self._llama.tokenize(unicodedata.normalize("NFC", text) if self._composed else text)

    def generate(
        self, requests: Iterable[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None = None
    ) -> Iterator[Completion]:
        """Completions in the order of `requests`, each taken when the one before is done. `on_text` gets text as it comes.

        Raises Incompatible, BadInput.
        """
        for prompt, sampling in requests:
            try:
                completion = self._write(prompt, sampling, on_text)
            except DepError:
                self._llama.forget()  # what went wrong, not a number perhaps, must not reach the next request
                raise
            yield completion

    def _write(self, prompt: SoftPrompt, sampling: Sampling, on_text: Callable[[str], None] | None) -> Completion:
        started = time.perf_counter()
        length = self._read(prompt, sampling.max_new_tokens)
        sampler, tokens, pieces, finish = self._sampler(prompt, sampling), [], [], "length"
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        while len(tokens) < sampling.max_new_tokens:
            token = sampler.pick(self._llama.logits())
            if self._llama.ends(token):
                finish = "stop"
                break
            sampler.take(token)
            tokens.append(token)
            pieces.append(characters.decode(self._llama.piece(token)))
            if on_text and pieces[-1]:
                on_text(pieces[-1])
            if len(tokens) < sampling.max_new_tokens:
                self._llama.feed(token)
        pieces.append(characters.decode(b"", final=True))
        if on_text and pieces[-1]:
            on_text(pieces[-1])
        return Completion("".join(pieces), finish, length, len(tokens), time.perf_counter() - started, tuple(tokens))

    def _sampler(self, prompt: SoftPrompt, sampling: Sampling) -> Sampler:
        if sampling.schema is None:
            return Sampler(sampling)
        from depcli.engines.constraint import Constraint, opens_thought

        if self._grammar is None:
            self._grammar = self._llama.grammar_tokenizer()
        return Sampler(sampling, Constraint(self._grammar, sampling.schema, thinking=opens_thought(prompt)))

    def _read(self, prompt: SoftPrompt, max_new_tokens: int) -> int:
        """Evaluate a prompt so that the next token can be picked; returns its length in positions."""
        check_width(prompt, self.width, self.backbone.name)
        parts = [self._tokenize(part.text) if isinstance(part, Text) else part.rows for part in prompt.parts]
        parts = [part for part in parts if len(part)]
        length = sum(map(len, parts))
        check_room(length, max_new_tokens, self.context, self.backbone.name)
        self.reused = self._llama.read(parts, max_new_tokens)
        return length

    def next_logits(self, prompt: SoftPrompt):
        """Logits (vocabulary,) float32 of the token that would follow `prompt`, to compare engines; -inf for unused ids."""
        self._read(prompt, 1)
        return self._llama.logits()

    def close(self) -> None:
        """Free the model. Twice is fine."""
        self._grammar = None  # it points into the model's vocabulary
        self._llama.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
