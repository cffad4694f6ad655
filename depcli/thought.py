"""What a model thinks before it writes: where that begins and ends in a prompt, in a text, and in one that still grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from depcli.records import Completion

THINK, THOUGHT = "<think>", "</think>"
THINKING = "thought"  # Completion.finish where all that was written is a thought


def ends_open(prompt: str) -> bool:
    """Whether a prompt ends in an opened thought, as the chat templates of some reasoning models make it."""
    return prompt.rstrip().endswith(THINK)


def without_thought(text: str, *, blind: bool = False) -> str | None:
    """What comes after the thought that a text begins with; all of one that begins otherwise, None where the thought has no end.
    `blind`: the prompt is made elsewhere and may have opened a thought, so what stands before a closing mark is one."""
    begun = text.lstrip()
    if begun.startswith(THINK) or (blind and THOUGHT in begun):
        _, mark, rest = begun.partition(THOUGHT)
        return rest.lstrip() if mark else None
    return text


def as_written(completion: Completion, *, blind: bool) -> Completion:
    """The completion without its thought; where that has no end the text is empty, and `finish` is THINKING."""
    text = without_thought(completion.text, blind=blind)
    return replace(completion, text="", finish=THINKING) if text is None else replace(completion, text=text)


class ThoughtFilter:
    """Hands on the pieces of texts, one after the other; of a text that begins with a thought only what comes after it."""

    def __init__(self, on_text: Callable[[str], None]):
        self._on_text, self._held, self._passes = on_text, "", False

    def feed(self, piece: str) -> None:
        """One more piece of the text."""
        if self._passes:
            self._on_text(piece)
            return
        self._held += piece
        begun = self._held.lstrip()
        if begun.startswith(THINK) or not THINK.startswith(begun):
            text = without_thought(self._held)
            self._passes = bool(text)
            if text:
                self._on_text(text)

    def end(self) -> None:
        """The text is whole, and another may come."""
        if not self._passes and (text := without_thought(self._held)):
            self._on_text(text)
        self._held, self._passes = "", False
