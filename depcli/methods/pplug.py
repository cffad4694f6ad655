"""PPlug: the whole history as one soft token before the prompt, weighed by the item; no past review as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from depcli.methods.base import Method
from depcli.records import Slot

if TYPE_CHECKING:
    from depcli.records import Vector


def before(history: Sequence[Vector], query: Vector) -> tuple[Slot, ...]:
    """The task's token, then, where there is a history, the user's."""
    person = (Slot("person", query, tuple(history)),) if history else ()
    return (Slot("task"), *person)


METHOD = Method(
    "pplug",
    "the embeddings of the whole history, up to 512 reviews, as one soft token",
    history=False,
    before=before,
    adapter="depcli.adapters.pplug:PPlugAdapter",
)
