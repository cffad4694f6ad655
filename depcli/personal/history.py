"""Which past reviews a request may see, and which K of them are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from depcli.errors import Unknown
from depcli.records import Request, Stored, stable_order
from depcli.words import count, nearest

_FEW, _MANY, _REVIEWS = 8, 512, 16_384  # users looked up together: at first, at most, and as have so many reviews


def each_history(snapshot, user_ids: Iterable[str]) -> Iterator[tuple[str, list[Stored]]]:
    """(user, reviews in the stable order) of each of these users, sorted; who has none is left out. So many are looked up at once
    that they should have some thousand reviews: memory grows neither with the users nor with the length of their histories."""
    users, count = sorted(set(user_ids)), _FEW
    while users:
        found = snapshot.histories(users[:count])
        yield from ((user, found[user]) for user in users[:count] if user in found)
        users, reviews = users[count:], sum(map(len, found.values()))
        count = min(max(_REVIEWS * len(found) // max(reviews, 1), 1), _MANY)


def known_before(stored: Sequence[Stored], request: Request) -> list[Stored]:
    """The user's reviews that exist when the request is made, oldest first: all but one of the item itself, and with
    `request.before` only those that come before it in the stable order. `stored` is in the stable order already."""
    return [
        entry
        for entry in stored
        if entry.review.asin != request.item.asin and (request.before is None or stable_order(entry.review) < request.before)
    ]


def most_recent(stored: Sequence[Stored], k: int) -> list[Stored]:
    """The k latest reviews, oldest first (DEP section 4.4: recency beats BM25, Contriever and random)."""
    return list(stored[-k:]) if k else []


def unknown_user(snapshot, user_id: str) -> Unknown:
    """The error that says that this snapshot has nothing by a user."""
    if found := snapshot.twin(user_id):
        hint = f"it knows {ascii(found)}, in another case or of other characters: give that"
        return Unknown(f"no user {user_id!r} in {store_text(snapshot)}", hint)
    users = snapshot.user_ids()
    known = f"it knows {count(len(users), 'user')}" + (f", such as {nearest(user_id, users)!r}" if users else "")
    untimed = "" if snapshot.moment is None else ", and reviews without a time are left out"
    return Unknown(f"no user {user_id!r} in {store_text(snapshot)}", f"{known}; ids are case-sensitive{untimed}")


def store_text(snapshot) -> str:
    """What a snapshot is called in an error: "the store", or the store as of which moment."""
    return "the store" if snapshot.moment is None else f"the store as of {moment_text(snapshot.moment)}"


def moment_text(moment: float) -> str:
    """Unix seconds as a person reads them: 2009-05-11 00:00:00 UTC."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
