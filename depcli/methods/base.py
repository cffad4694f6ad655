"""What every method declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from depcli.records import PastReview, Slot


@dataclass(frozen=True)
class Method:
    """`history`: past reviews stand in the prompt as text. `slots`: the soft tokens after each, None for text-only methods."""

    name: str
    summary: str
    history: bool
    slots: Callable[[PastReview], tuple[Slot, ...]] | None = None

    @property
    def needs_adapter(self) -> bool:
        return self.slots is not None
