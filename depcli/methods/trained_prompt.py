"""The control: DEP's prompt with trained vectors in the place of its soft tokens, the same for everyone. How much better it is
than the text alone is tuning; only what DEP gains beyond it is knowledge of the user."""

from __future__ import annotations

from collections.abc import Sequence

from depcli.methods import dep
from depcli.methods.base import Method
from depcli.records import PastReview, Slot


def slots(shown: Sequence[PastReview]) -> list[tuple[Slot, ...]]:
    """As many for each review as DEP has, told apart by how many reviews are newer."""
    return [tuple(Slot(f"{slot.kind}_{slot.age}") for slot in group) for group in dep.slots(shown)]


METHOD = Method(
    "trained-prompt",
    "past reviews, each with as many soft tokens as dep gives it, but the same for everyone (a control)",
    history=True,
    slots=slots,
    adapter="depcli.adapters.trained_prompt:TrainedPromptAdapter",
)
