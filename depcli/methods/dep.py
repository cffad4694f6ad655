"""DEP: each past review carries two soft tokens, what it is and how it differs from the peers (DEP section 3.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

from depcli.methods.base import Method
from depcli.records import PastReview, Slot


def slots(shown: Sequence[PastReview]) -> list[tuple[Slot, ...]]:
    """For each review its own token between its markers, then, where peers exist, the difference token between its markers.

    Vector i belongs to shown review i. (The authors' release takes the vectors from other reviews than the text.)
    """
    ages = range(len(shown) - 1, -1, -1)
    return [_of(past, age) for age, past in zip(ages, shown, strict=True)]


def _of(past: PastReview, age: int) -> tuple[Slot, ...]:
    his = (Slot("his_start", age=age), Slot("his", past.his, age=age), Slot("his_end", age=age))
    if past.diff is None:
        return his
    return (*his, Slot("diff_start", age=age), Slot("diff", past.diff, age=age), Slot("diff_end", age=age))


METHOD = Method(
    "dep",
    "past reviews, each with its embedding and its difference from the peers",
    history=True,
    slots=slots,
    adapter="depcli.adapters.dep:DepAdapter",
)
