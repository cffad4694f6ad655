"""PAG: a model first sums up the past reviews in a short profile, which then stands before them."""

from __future__ import annotations

from collections.abc import Sequence

from depcli.analysts.analyst import Analyst, Tally
from depcli.methods.asking import summary
from depcli.methods.base import Anchor, Method
from depcli.records import Profile


def profile(analyst: Analyst, anchors: Sequence[Anchor]) -> Profile:
    """One call: the reviews are summed up."""
    tally = Tally()
    text = summary(analyst, anchors, (), tally)
    return Profile(text, analysis=tally.analysis())


METHOD = Method("pag", "a profile summed up from the past reviews, and these", history=True, profile=profile)
