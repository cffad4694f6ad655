"""From tokens to text: which tokens end it, and how it is handed out while it grows."""

from __future__ import annotations

from collections.abc import Callable


def end_tokens(generation_config, tokenizer) -> frozenset[int]:
    """The ids that end a text: those of the model's generation configuration, and the tokenizer's own."""
    listed = generation_config.eos_token_id
    listed = listed if isinstance(listed, list) else [listed]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


def text_of(tokenizer, tokens: list[int]) -> str:
    """What these tokens say, control tokens left out."""
    return tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class TextStream:
    """Hands out text as tokens come, never half a character: what may still change is held back until the end."""

    def __init__(self, tokenizer, on_text: Callable[[str], None]):
        self._tokenizer, self._on_text, self._sent = tokenizer, on_text, 0

    def feed(self, tokens: list[int], *, last: bool) -> None:
        """`tokens` are all so far."""
        text = text_of(self._tokenizer, tokens)
        settled = text if last else text.rstrip("\ufffd")
        if len(settled) > self._sent:
            self._on_text(settled[self._sent :])
            self._sent = len(settled)
