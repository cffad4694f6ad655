"""Text that must parse: the tokens that a JSON schema allows next, found by llguidance, the same for every engine.

A model that thinks first may do so: the schema holds from the end of its thought on.
"""

from __future__ import annotations

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from depcli.errors import DepError
from depcli.records import SoftPrompt, Text
from depcli.thought import THINK, THOUGHT, ends_open

# No free white space: a model that is unsure of what comes next would write it for ever.
_COMPACT = {"whitespace_flexible": False}


class Constraint:
    """What may be written in one completion. `schema` is JSON text; `thinking`: the prompt has opened a thought already.

    Raises ValueError for a schema that llguidance cannot follow.
    """

    def __init__(self, tokenizer: LLTokenizer, schema: str, *, thinking: bool = False):
        self._tokenizer, self._thinking, self._thought = tokenizer, thinking, b""
        self._matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(schema, overrides=_COMPACT), log_level=0)
        if self._matcher.is_error():
            raise ValueError(f"no grammar for this schema: {self._matcher.get_error()}")
        self._think = _single_token(tokenizer, THINK)
        self._begun = False

    def narrow(self, logits: np.ndarray) -> np.ndarray:
        """The logits (V,) float32 with -inf where a token would leave the schema."""
        if self._thinking:
            return logits
        if self._matcher.is_error():
            raise DepError(f"the answer cannot be kept to its schema: {self._matcher.get_error()}", "try another --analyst")
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, count=len(logits), bitorder="little").astype(bool)
        if not self._begun and self._think is not None:
            allowed[self._think] = True
        return np.where(allowed, logits, np.float32(-np.inf))

    def take(self, token: int) -> None:
        """Note the token that was chosen. An end token ends the text and is not taken."""
        if self._thinking:
            self._thought += self._tokenizer.decode_bytes([token])
            self._thinking = not self._thought.rstrip().endswith(THOUGHT.encode())
        elif not self._begun and token == self._think:
            self._thinking = True
        else:
            self._matcher.consume_token(token)
        self._begun = True


def opens_thought(prompt: SoftPrompt) -> bool:
    """Whether a prompt ends in an opened thought."""
    last = prompt.parts[-1]
    return isinstance(last, Text) and ends_open(last.text)


def _single_token(tokenizer: LLTokenizer, text: str) -> int | None:
    tokens = tokenizer.tokenize_str(text, parse_special=True)
    return tokens[0] if len(tokens) == 1 else None
