"""The rules of DPL's data: which reviews, users and items are worth keeping, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from depcli.errors import BadInput


def _at_least(number: int, words: str) -> int:
    return field(default=number, metadata={"words": words})


@dataclass(frozen=True)
class Thresholds:
    """Numbers as in DPL's own script; 0 switches a rule off. `words` say what is dropped."""

    text: int = _at_least(200, "text under {} characters")
    title: int = _at_least(1, "review title under {} characters")
    rated: int = _at_least(1, "without a rating")
    dated: int = _at_least(1, "without a time")
    item_title: int = _at_least(1, "item title under {} characters")
    description: int = _at_least(100, "item description under {} characters")
    description_max: int = _at_least(2000, "item description over {} characters")
    reviewers: int = _at_least(8, "item with fewer than {} reviewers")
    reviews: int = _at_least(18, "user with fewer than {} reviews")
    reviews_max: int = _at_least(500, "user with more than {} reviews")
    targets: int = _at_least(10, "")  # a user's last reviews, which the two rules below do not count
    profile_reviewers: int = _at_least(5, "item with fewer than {} reviewers before their last {targets}")
    profile: int = _at_least(8, "user with fewer than {} reviews before the last {targets}")

    def __post_init__(self):
        for name, number in vars(self).items():
            if not isinstance(number, int) or number < 0:
                raise BadInput(f"the threshold {name} is {number!r}, not a whole number from 0 upwards")

    def says(self, name: str) -> str:
        """The rule in words."""
        words = {each.name: each.metadata["words"] for each in fields(self)}[name]
        return words.format(getattr(self, name), targets=self.targets).replace("under 1 characters", "missing")


def thresholds(asked: Mapping[str, int]) -> Thresholds:
    """DPL's numbers, but for those that are asked for. Raises BadInput for a rule that does not exist."""
    known = [each.name for each in fields(Thresholds)]
    if unknown := [name for name in asked if name not in known]:
        raise BadInput(f"no threshold {unknown[0]!r}", f"known: {', '.join(known)}")
    return Thresholds(**asked)
