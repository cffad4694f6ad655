"""DPL: a model describes how each past review differs from those of representative peers along three fixed dimensions, and sums
that up in a profile, which stands before the past reviews."""

from __future__ import annotations

from collections.abc import Sequence

from depcli.analysts.analyst import Analyst, Tally
from depcli.analysts.answers import plain_text
from depcli.methods.asking import beside, question, summary
from depcli.methods.base import Anchor, Method
from depcli.records import Difference, Profile

_DIFFERENCE_TOKENS = 220


def profile(analyst: Analyst, anchors: Sequence[Anchor]) -> Profile:
    """One call for each review that has representative peers, and one to sum up."""
    tally = Tally()
    compared = [anchor for anchor in anchors if anchor.peers]
    asked = [question(analyst, "difference", read=plain_text, tokens=_DIFFERENCE_TOKENS, **beside(anchor)) for anchor in compared]
    answers = zip(compared, analyst.ask(asked, tally), strict=True)
    differences = [Difference(anchor.past.review.asin, text) for anchor, text in answers if text is not None]
    text = summary(analyst, anchors, [difference.text for difference in differences], tally)
    return Profile(text, tuple(differences), anchors=len(compared), analysis=tally.analysis())


METHOD = Method(
    "dpl",
    "a profile of how the user differs from peers in three fixed dimensions, and the past reviews",
    history=True,
    profile=profile,
    peers=True,
)
