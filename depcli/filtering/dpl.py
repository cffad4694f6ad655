"""DPL's filter: read everything once and keep a few numbers per review; decide; read again and let through what stays.

What a rule drops makes other rules drop more, so they go round until nothing changes. As in DPL's script all rules of a round see
the reviews as the round began; a review that several would drop counts under the first. Departures: equal times are ordered by
item, as everywhere here; texts that differ in white space alone are duplicates from the start; the categories and the number of
ratings of an item, which that script wants to be there, are not looked at.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from depcli.errors import BadInput
from depcli.filtering.rules import Thresholds
from depcli.readers import BadLine
from depcli.records import Item, Review

DUPLICATE = "an older review by the same user with the same item or text"
_OF_ITSELF = ("text", "title", "rated", "dated")  # rules that need no other review
_OF_THE_ITEM = ("item_title", "description", "description_max")


@dataclass(frozen=True)
class Dropped:
    """What one rule dropped in one round; round 0 looks at each review by itself. `of` counts the users or items it was about."""

    round: int
    rule: str
    reviews: int
    of: int = 0
    what: str = ""


class DplFilter:
    """Feed it everything with look(), decide(), then pass the same entries in the same order through kept()."""

    def __init__(self, thresholds: Thresholds):
        self.thresholds = thresholds
        self.dropped: list[Dropped] = []
        self._user, self._item = array("i"), array("i")
        self._time, self._text, self._verdict = array("d"), array("q"), array("b")
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._described: dict[str, tuple[int, int]] = {}  # characters of title and description
        self.keep = np.zeros(0, bool)  # by review, in the order in which they were read
        self.staying: dict[str, int] = {}
        self._next = 0

    def look(self, entries: Iterable[Review | Item | BadLine]) -> Iterator[int]:
        """Take note of everything; yields the number of reviews so far with each of them."""
        for entry in entries:
            if isinstance(entry, Item):
                title, description = self._described.get(entry.asin, (0, 0))
                self._described[entry.asin] = (len(entry.title) or title, len(entry.description) or description)
            elif isinstance(entry, Review):
                self._user.append(self._users.setdefault(entry.user_id, len(self._users)))
                self._item.append(self._items.setdefault(entry.asin, len(self._items)))
                self._time.append(float("-inf") if entry.timestamp is None else entry.timestamp)
                self._text.append(hash(" ".join(entry.text.split())))
                self._verdict.append(self._of_itself(entry))
                yield len(self._user)

    def decide(self) -> None:
        """Apply the rules: see `dropped`, and `staying` for how many reviews, users and items are left."""
        limits, user, item = self.thresholds, np.array(self._user, np.int64), np.array(self._item, np.int64)
        alive = self._first_round(item)
        newest_first = self._newest_first(user, item)
        twice = self._users_with_duplicates(user, item, alive)
        number = 0
        while True:
            number += 1
            unique = self._without_duplicates(alive, newest_first, twice, user, item)
            written = np.bincount(user[unique], minlength=len(self._users))
            reviewers = _distinct_users(user[alive], item[alive], len(self._items))
            before = int(alive.sum())
            alive = self._drop(number, "reviewers", alive, reviewers < limits.reviewers, item, "items")
            alive = self._drop(number, "reviews", alive, written < limits.reviews, user, "users")
            if limits.reviews_max:
                alive = self._drop(number, "reviews_max", alive, written > limits.reviews_max, user, "users")
            if before == alive.sum():
                break
        unique = self._without_duplicates(alive, newest_first, twice, user, item)
        self._note(number, DUPLICATE, alive & ~unique, user, "users")
        self.keep = self._by_profile(number, unique, newest_first, user, item)
        self.staying = {"reviews": int(self.keep.sum())}
        for what, of in (("users", user), ("items", item)):
            self.staying[what] = len(np.unique(of[self.keep]))

    def document(self) -> dict:
        """The thresholds, what was dropped and what stays, as plain values."""
        dropped = [asdict(one) for one in self.dropped]
        return {"name": "dpl", "thresholds": asdict(self.thresholds), "dropped": dropped, "kept": self.staying}

    def kept(self, entries: Iterable[Review | Item | BadLine]) -> Iterator[Review | Item | BadLine]:
        """The entries without the reviews that were dropped and the items that no review is left of."""
        items = set(np.unique(np.array(self._item, np.int64)[self.keep]).tolist())
        for entry in entries:
            if isinstance(entry, Review):
                place, self._next = self._next, self._next + 1
                if place >= len(self.keep) or self._user[place] != self._users.get(entry.user_id):
                    raise BadInput("a file changed while it was filtered", "run the same command again")
                if not self.keep[place]:
                    continue
            elif isinstance(entry, Item) and self._items.get(entry.asin) not in items:
                continue
            yield entry

    def _of_itself(self, review: Review) -> int:
        """The number from 1 of the first rule of its own that a review breaks, 0 for none."""
        limits = self.thresholds
        has = (len(review.text), len(review.title), review.rating is not None, review.timestamp is not None)
        return next((i for i, name in enumerate(_OF_ITSELF, 1) if has[i - 1] < getattr(limits, name)), 0)

    def _first_round(self, item: np.ndarray) -> np.ndarray:
        limits, alive = self.thresholds, np.ones(len(item), bool)
        verdict = np.array(self._verdict)
        for i, name in enumerate(_OF_ITSELF, 1):
            alive = alive & ~self._note(0, limits.says(name), verdict == i, item, "")
        title, description = np.array([self._described.get(asin, (0, 0)) for asin in self._items]).reshape(-1, 2).T
        longest = limits.description_max or np.inf
        wrong = (title < limits.item_title, description < limits.description, description > longest)
        for name, bad in zip(_OF_THE_ITEM, wrong, strict=True):
            alive = self._drop(0, name, alive, bad, item, "items")
        return alive

    def _by_profile(
        self, number: int, alive: np.ndarray, newest_first: np.ndarray, user: np.ndarray, item: np.ndarray
    ) -> np.ndarray:
        """DPL's second filter, of the reviews before a user's last ones, which fall or stay with their user."""
        limits = self.thresholds
        rows = newest_first[alive[newest_first]]
        starts = np.flatnonzero(np.r_[True, user[rows][1:] != user[rows][:-1]]) if len(rows) else np.zeros(0, int)
        place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
        early = np.zeros(len(alive), bool)
        early[rows[place >= limits.targets]] = True
        while True:
            number, before = number + 1, int(alive.sum())
            reviewers = _distinct_users(user[alive & early], item[alive & early], len(self._items))
            few = early & (reviewers < limits.profile_reviewers)[item]
            self._note(number, limits.says("profile_reviewers"), alive & few, item, "items")
            alive = alive & ~few
            left = np.bincount(user[alive & early], minlength=len(self._users))
            alive = self._drop(number, "profile", alive, left < limits.profile, user, "users")
            if before == alive.sum():
                return alive

    def _drop(self, number: int, rule: str, alive: np.ndarray, bad: np.ndarray, of: np.ndarray, what: str) -> np.ndarray:
        """`alive` without the reviews whose user or item (`of`) is bad."""
        gone = alive & bad[of]
        self._note(number, self.thresholds.says(rule), gone, of, what)
        return alive & ~gone

    def _note(self, number: int, words: str, gone: np.ndarray, of: np.ndarray, what: str) -> np.ndarray:
        if gone.any():
            self.dropped.append(Dropped(number, words, int(gone.sum()), len(np.unique(of[gone])) if what else 0, what))
        return gone

    def _newest_first(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Places of the reviews by user, newest first: the stable order turned round, what was read last before its like."""
        rank = np.empty(len(self._items), np.int64)
        rank[[self._items[asin] for asin in sorted(self._items)]] = np.arange(len(self._items))
        return np.lexsort((-np.arange(len(user)), -rank[item], -np.array(self._time), user))

    def _users_with_duplicates(self, user: np.ndarray, item: np.ndarray, alive: np.ndarray) -> np.ndarray:
        """For each user whether two of their reviews have one item or one text."""
        twice = np.zeros(len(self._users), bool)
        for column in (item, np.array(self._text)):
            order = np.lexsort((column[alive], user[alive]))
            u, c = user[alive][order], column[alive][order]
            twice[u[1:][(u[1:] == u[:-1]) & (c[1:] == c[:-1])]] = True
        return twice

    def _without_duplicates(
        self, alive: np.ndarray, newest_first: np.ndarray, twice: np.ndarray, user: np.ndarray, item: np.ndarray
    ) -> np.ndarray:
        """The reviews that are alive but for older ones with an item or a text of the same user that was kept."""
        unique, seen, current = alive.copy(), set(), -1
        for place in newest_first[(alive & twice[user])[newest_first]].tolist():
            if user[place] != current:
                seen, current = set(), user[place]
            marks = (True, int(item[place])), (False, self._text[place])
            if seen.isdisjoint(marks):
                seen.update(marks)
            else:
                unique[place] = False
        return unique


def _distinct_users(user: np.ndarray, item: np.ndarray, items: int) -> np.ndarray:
    """How many users each item has (items,)."""
    users = int(user.max(initial=0)) + 1
    return np.bincount(np.unique(item * users + user) // users, minlength=items)
