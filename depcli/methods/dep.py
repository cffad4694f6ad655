"""DEP: each past review carries two soft tokens, what it is and how it differs from the peers (DEP section 3.2.3)."""

from __future__ import annotations

from depcli.methods.base import Method
from depcli.records import PastReview, Slot


def slots(past: PastReview) -> tuple[Slot, ...]:
    """The review's own token between its markers, then, where peers exist, the difference token between its markers.

    Vector i belongs to shown review i. (The authors' release takes the vectors from other reviews than the text.)
    """
    his = (Slot("his_start"), Slot("his", past.his), Slot("his_end"))
    if past.diff is None:
        return his
    return (*his, Slot("diff_start"), Slot("diff", past.diff), Slot("diff_end"))


METHOD = Method("dep", "past reviews, each with its embedding and its difference from the peers", history=True, slots=slots)
