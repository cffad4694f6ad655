"""Which reviews are learned, which are validated on and which are tested on. That none of them leaks is proved in leakage.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Literal

from depcli.errors import BadInput, NotFound
from depcli.records import Item, Request, stable_order

ROLES = ("train", "validation", "test")
LEAVE_LAST_OUT = "leave-last-out"
TARGETS_PER_USER = 8  # to be learned, unless somebody says otherwise
MIN_REVIEWS = 4  # one to test, one to validate, one to learn, and one before it as history
_ITEMS = 4096  # that are looked up together
_WINDOW = 256  # targets whose reviews are looked up together


@dataclass(frozen=True, slots=True)
class Target:
    """A real review to be written again. `timestamp` is unix seconds, None when the store has none. `repeats`: the
    item of the user's first review with the same text, word for word, unless it is this one or a task was to be solved by it."""

    user_id: str
    asin: str
    timestamp: float | None
    repeats: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.user_id, self.asin

    @property
    def order(self) -> tuple[float, str]:
        """Its place in records.stable_order."""
        return (float("-inf") if self.timestamp is None else self.timestamp, self.asin)


@dataclass(frozen=True)
class Split:
    """Targets by role, in the order of the user ids. `held_out` are the keys of the reviews that no peer mean may contain: all
    validation and test targets, and what else nobody may know.

    `unseen` are users of whom nothing is learned; `since` is the moment (unix seconds) from which on nothing is learned, None for
    none. `repeated` is how many reviews of the store are no targets since an earlier one has their text. `digest` is the sha256
    of all target keys, and of what is held out beside them.
    """

    name: str
    train: tuple[Target, ...]
    validation: tuple[Target, ...]
    test: tuple[Target, ...]
    held_out: frozenset[tuple[str, str]]
    digest: str
    unseen: frozenset[str] = frozenset()
    since: float | None = None
    repeated: int = 0

    def notes(self) -> list[str]:
        """What is to be said of it."""
        if not self.repeated:
            return []
        those = "1 review repeats" if self.repeated == 1 else f"{self.repeated:,} reviews repeat"
        return [f"{those} an earlier text of their user word for word: shown as history, but neither learned nor tested"]


def by_user(snapshot) -> dict[str, list[Target]]:
    """Every user's reviews, users and reviews in order. Holds the keys of all reviews, no texts and no vectors."""
    found: dict[str, list[tuple[Target, bytes]]] = {}
    columns = ("user_id", "asin", "timestamp", "text_hash")
    for rows in snapshot.review_rows(columns):
        for user, asin, time, text in zip(*(rows.column(name).to_pylist() for name in columns), strict=True):
            found.setdefault(user, []).append((Target(user, asin, time), text))
    users = {user: _in_order(found.pop(user)) for user in sorted(found)}
    repeating = sorted({target.asin for targets in users.values() for target in targets if target.repeats})
    tasks = set()  # the same words for two articles are an answer to each: data sets of tasks ask for it
    for start in range(0, len(repeating), _ITEMS):
        items = snapshot.items(repeating[start : start + _ITEMS])
        tasks |= {asin for asin, item in items.items() if item.task}
    if tasks:
        for targets in users.values():
            targets[:] = [replace(target, repeats=None) if target.asin in tasks else target for target in targets]
    return users


def _in_order(reviews: list[tuple[Target, bytes]]) -> list[Target]:
    reviews.sort(key=lambda review: review[0].order)
    first: dict[bytes, Target] = {}
    for target, text in reviews:
        first.setdefault(text, target)
    if len(first) == len(reviews):
        return [target for target, _ in reviews]
    return [target if first[text] is target else replace(target, repeats=first[text].asin) for target, text in reviews]


def candidates(reviews: Sequence[Target]) -> list[Target]:
    """Those of a user's reviews, in order, that may be targets: not the first, which has no history, and none whose text is in
    its history word for word."""
    return [target for target in reviews[1:] if not target.repeats]


def leave_last_out(snapshot, *, last: int = 1, targets_per_user: int = TARGETS_PER_USER) -> Split:
    """Per user, in records.stable_order: the `last` reviews are to be tested, as many before them to be validated, and the
    `targets_per_user` before those to be learned, of the `candidates`. Takes users who have enough for that, four reviews or more
    where one is tested. Each target is written from all that came before it, other targets included."""
    if targets_per_user < 1:
        raise BadInput(f"{targets_per_user} targets per user are too few", "ask for 1 or more")
    roles: dict[str, list[Target]] = {role: [] for role in ROLES}
    users = by_user(snapshot)
    for reviews in users.values():
        targets = candidates(reviews)
        if 1 + len(targets) < MIN_REVIEWS + 2 * (last - 1):
            continue
        roles["test"] += targets[-last:]
        roles["validation"] += targets[-2 * last : -last]
        roles["train"] += targets[: -2 * last][-targets_per_user:]
    return make_split(LEAVE_LAST_OUT if last == 1 else f"{LEAVE_LAST_OUT}:{last}", **roles, users=users)


def make_split(
    name: str,
    *,
    train: Iterable[Target],
    validation: Iterable[Target],
    test: Iterable[Target],
    withheld: Iterable[tuple[str, str]] = (),
    unseen: Iterable[str] = (),
    since: float | None = None,
    users: Mapping[str, Sequence[Target]] = MappingProxyType({}),
) -> Split:
    """A Split with its held-out keys and its digest. Held out are `withheld` too, and of `users`, as by_user gives them, reviews
    that repeat the text of a target to be validated or tested."""
    roles = {"train": tuple(train), "validation": tuple(validation), "test": tuple(test)}
    tested = {target.key for role in ("validation", "test") for target in roles[role]}
    repeating = [target for targets in users.values() for target in targets if target.repeats]
    copies = (target.key for target in repeating if (target.user_id, target.repeats) in tested)
    held_out = frozenset(tested.union(withheld, copies))
    keys = [[role, *target.key] for role in ROLES for target in roles[role]]
    keys += [["held out", *key] for key in held_out - tested]
    digest = hashlib.sha256(_canonical(sorted(keys))).hexdigest()
    return Split(name, **roles, held_out=held_out, digest=digest, unseen=frozenset(unseen), since=since, repeated=len(repeating))


def pairs_of(targets: Iterable[Target], snapshot) -> Iterator[tuple[Request, str]]:
    """(request, text of the real review) of each target, in order. As in the paper the request has the real review's rating and,
    where there is one, its title. Raises NotFound when the snapshot lacks a target's review."""
    targets = iter(targets)
    while window := list(islice(targets, _WINDOW)):
        reviews = snapshot.reviews([target.key for target in window])
        items = snapshot.items(sorted({target.asin for target in window}))
        for target in window:
            if target.key not in reviews:
                raise NotFound(
                    f"the store has no review of {target.asin!r} by {target.user_id!r}",
                    "the split was made from another state of the store: make it again",
                )
            review = reviews[target.key]
            item = items.get(target.asin) or Item(target.asin)
            yield Request(target.user_id, item, review.rating, review.title or None, before=stable_order(review)), review.text


def by_hash(target: Target, seed: int = 0) -> bytes:
    """A sort key that shuffles: the first N targets by it are a subset that depends on N, the seed and the targets alone."""
    return hashlib.sha256(_canonical([seed, *target.key])).digest()


def user_by_hash(user_id: str) -> bytes:
    """A sort key that shuffles users, the same way in every store."""
    return hashlib.sha256(_canonical(["user", user_id])).digest()


def choose(split: Split, role: Literal["train", "validation", "test"], limit: int | None = None, seed: int = 0) -> list[Target]:
    """The targets of a role, or the first `limit` of them in shuffled order: a larger limit keeps those of a smaller one."""
    chosen = sorted(getattr(split, role), key=lambda target: by_hash(target, seed))
    return chosen if limit is None else chosen[:limit]


def _canonical(value) -> bytes:
    # Escaped, so that any user id, lone surrogates included, has bytes; JSON, so that no two lists have the same.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
