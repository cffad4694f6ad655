"""Which past reviews a request may see, and which K of them are shown."""

from __future__ import annotations

from collections.abc import Sequence

from depcli.records import Request, Stored, stable_order


def known_before(stored: Sequence[Stored], request: Request) -> list[Stored]:
    """The user's reviews that exist when the request is made, oldest first: all but one of the item itself, and with
    `request.before` only those that come before it in the stable order. `stored` is in the stable order already."""
    return [
        entry for entry in stored
        if entry.review.asin != request.item.asin and (request.before is None or stable_order(entry.review) < request.before)
    ]  # fmt: skip


def most_recent(stored: Sequence[Stored], k: int) -> list[Stored]:
    """The k latest reviews, oldest first (DEP section 4.4: recency beats BM25, Contriever and random)."""
    return list(stored[-k:]) if k else []
