"""What a model thinks before it answers: where that begins and ends in a prompt, in a text, and in one that still grows."""

from __future__ import annotations

from collections.abc import Callable

THINK, THOUGHT = "<think>", "</think>"


def ends_open(prompt: str) -> bool:
    """Whether a prompt ends in an opened thought, as the chat templates of some reasoning models make it."""
    return prompt.rstrip().endswith(THINK)


def without_thought(text: str, *, opened: bool = False) -> str | None:
    """The text after the last closing mark; all of it when nothing was thought, None for an unfinished thought: it is no result,
    whatever it says. `opened`: the prompt began the thought."""
    _, mark, rest = text.rpartition(THOUGHT)
    if THINK in rest or (opened and not mark):
        return None
    return rest.lstrip() if mark else rest


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
        if begun.startswith(THINK):
            begun = begun.partition(THOUGHT)[2].lstrip()
            self._passes = bool(begun)
        else:
            self._passes = not THINK.startswith(begun)
            begun = self._held
        if self._passes:
            self._on_text(begun)

    def end(self) -> None:
        """The text is whole, and another may come."""
        if not self._passes and not self._held.lstrip().startswith(THINK):
            self._on_text(self._held)
        self._held, self._passes = "", False
