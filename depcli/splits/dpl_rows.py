"""A split in the layout of DPL's data sets: a row for each review to be written, with the past reviews of its user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from depcli.personal.history import known_before
from depcli.records import Item, Request, Review, stable_order
from depcli.splits.split import Target

_WINDOW = 256  # targets whose users are looked up together


def rows(snapshot, targets: Iterable[Target]) -> Iterator[dict]:
    """{"user_id", "profile": [reviews before the target, oldest first], "data": the target's review} of each target, in order."""
    targets = iter(targets)
    while window := list(islice(targets, _WINDOW)):
        histories = snapshot.histories(sorted({target.user_id for target in window}))
        for target in window:
            stored = histories[target.user_id]
            (own,) = (entry.review for entry in stored if entry.review.asin == target.asin)
            before = known_before(stored, Request(target.user_id, Item(target.asin), before=stable_order(own)))
            yield {"user_id": target.user_id, "profile": [_review(entry.review) for entry in before], "data": _review(own)}


def _review(review: Review) -> dict:
    """All fields in every row, null where there is nothing: readers of data sets want one schema."""
    return {
        "asin": review.asin,
        "rating": review.rating,
        "title": review.title,
        "text": review.text,
        "timestamp": review.timestamp,
    }
