"""What a reader yields beside Review and Item, and how a reader says that a line is no use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

_BEGINNING = 80


@dataclass(frozen=True)
class BadLine:
    """A line that could not be used. `line_number` counts from 1, in what `unit` says: "line", in a table of columns "row", in a
    JSON array "element". `excerpt` is its beginning, and `hints` say in what forms the values at fault are read."""

    line_number: int
    reason: str
    excerpt: str
    unit: str = "line"
    hints: tuple[str, ...] = ()


class BadField(Exception):
    """Raised while a line is parsed; the message is the reason of the BadLine, and `hints` are its hints."""

    def __init__(self, reason: str, *hints: str):
        super().__init__(reason)
        self.hints = hints


def beginning(held: str | Mapping | None) -> str:
    """The beginning of an entry, in one line and safe to show on a terminal."""
    if held is not None and not isinstance(held, str):
        held = " | ".join(str(value)[:_BEGINNING] for value in islice(held.values(), 12))
    line = " ".join((held or "")[: 10 * _BEGINNING].split())[:_BEGINNING]
    return "".join(character if character.isprintable() else "\ufffd" for character in line)
