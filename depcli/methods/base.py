"""What every method declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depcli.records import PastReview, Profile, Review, Slot

if TYPE_CHECKING:
    from depcli.analysts.analyst import Analyst
    from depcli.records import Vector

MIN_PEERS = 4  # of whom representatives are chosen


@dataclass(frozen=True, eq=False)
class Anchor:
    """A review of the history with the peers' reviews that it is compared with, if any."""

    past: PastReview
    peers: tuple[Review, ...] = ()


@dataclass(frozen=True)
class Method:
    """`history`: past reviews stand in the prompt as text. `slots`: the soft tokens after each of those shown (oldest first).
    `before`: the soft tokens before the prompt, from the vectors of the whole history (oldest first) and that of the item's text.
    `adapter` (module:class) is what fills them; its `type` is the method's name. None for text-only methods.

    `profile` asks an analyst for a text about the user, which stands in the prompt too; it gets the past reviews as anchors,
    oldest first, with representative peers if `peers`.
    """

    name: str
    summary: str
    history: bool
    slots: Callable[[Sequence[PastReview]], list[tuple[Slot, ...]]] | None = None
    before: Callable[[Sequence[Vector], Vector], tuple[Slot, ...]] | None = None
    adapter: str | None = None
    profile: Callable[[Analyst, Sequence[Anchor]], Profile] | None = None
    peers: bool = False

    @property
    def needs_adapter(self) -> bool:
        return self.adapter is not None
