"""What a reader yields beside Review and Item, and how a reader says that a line is no use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BadLine:
    """A line that could not be used. `line_number` counts from 1, in what `unit` says: "line", in a table of columns "row", in a
    JSON array "element". `excerpt` is its beginning."""

    line_number: int
    reason: str
    excerpt: str
    unit: str = "line"


class BadField(Exception):
    """Raised while a line is parsed; the message is the reason of the BadLine."""
