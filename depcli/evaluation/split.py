"""Which reviews are learned, which are validated on and which are tested on; and the proof that none of them leaks."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from depcli.errors import BadInput, NotFound
from depcli.records import Item, Prompt, Request, Stored, stable_order

ROLES = ("train", "validation", "test")
MIN_REVIEWS = 4  # one to test, one to validate, one to learn, and one before it as history
_WINDOW = 256  # users whose reviews are looked up together


@dataclass(frozen=True)
class Target:
    """A real review to be written again. `timestamp` is unix seconds, None when the store has none."""

    user_id: str
    asin: str
    timestamp: float | None

    @property
    def key(self) -> tuple[str, str]:
        return self.user_id, self.asin


@dataclass(frozen=True)
class Split:
    """Targets by role, in the order of the user ids. `held_out` are the keys of validation and test targets, which no peer mean
    may contain; `too_short` counts the users with fewer than four reviews; `digest` is the sha256 of all target keys."""

    name: str
    train: tuple[Target, ...]
    validation: tuple[Target, ...]
    test: tuple[Target, ...]
    too_short: int
    held_out: frozenset[tuple[str, str]]
    digest: str


def leave_last_out(snapshot, *, targets_per_user: int = 1) -> Split:
    """Per user, in records.stable_order: the last review is to be tested, the one before it to be validated, and the
    `targets_per_user` before that to be learned; the very first is never a target. Takes users with four reviews or more."""
    if targets_per_user < 1:
        raise BadInput(f"{targets_per_user} targets per user are too few", "ask for 1 or more")
    roles: dict[str, list[Target]] = {role: [] for role in ROLES}
    too_short = 0
    for _, reviews in _histories(snapshot, snapshot.user_ids()):
        if len(reviews) < MIN_REVIEWS:
            too_short += 1
            continue
        targets = [Target(s.review.user_id, s.review.asin, s.review.timestamp) for s in reviews[1:]]
        roles["test"].append(targets[-1])
        roles["validation"].append(targets[-2])
        roles["train"] += targets[:-2][-targets_per_user:]
    return make_split("leave-last-out", **roles, too_short=too_short)


def make_split(
    name: str, *, train: Iterable[Target], validation: Iterable[Target], test: Iterable[Target], too_short: int = 0
) -> Split:
    """A Split with its held-out keys and digest."""
    roles = {"train": tuple(train), "validation": tuple(validation), "test": tuple(test)}
    held_out = frozenset(target.key for role in ("validation", "test") for target in roles[role])
    digest = hashlib.sha256(_canonical(sorted([role, *target.key] for role in ROLES for target in roles[role]))).hexdigest()
    return Split(name, **roles, too_short=too_short, held_out=held_out, digest=digest)


def pairs_of(targets: Iterable[Target], snapshot) -> Iterator[tuple[Request, str]]:
    """(request, text of the real review) of each target, in order. As in the paper the request has the real review's rating and,
    where there is one, its title. Raises NotFound when the snapshot lacks a target's review."""
    targets = iter(targets)
    while window := list(islice(targets, _WINDOW)):
        reviews = {
            (user, stored.review.asin): stored.review
            for user, history in _histories(snapshot, {target.user_id for target in window})
            for stored in history
        }
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


def choose(split: Split, role: Literal["train", "validation", "test"], limit: int | None = None, seed: int = 0) -> list[Target]:
    """The targets of a role, or the first `limit` of them in shuffled order: a larger limit keeps those of a smaller one."""
    chosen = sorted(getattr(split, role), key=lambda target: by_hash(target, seed))
    return chosen if limit is None else chosen[:limit]


def check_leakage(split: Split, *, learned: Iterable[tuple[str, str]] = ()) -> None:
    """Raise ValueError, naming a review, when one has two roles or is twice a target, when a validation or test target is not
    held out, or when one is among the `learned`: the (user_id, asin) keys an adapter was trained on.

    What each prompt shows is checked where it is built, by `check_shown`.
    """
    keys = Counter(target.key for role in ROLES for target in getattr(split, role))
    found = {
        "targets more than once": [key for key, times in keys.items() if times > 1],
        "to be tested but not held out": {target.key for target in (*split.validation, *split.test)} - split.held_out,
        "held out but were learned": split.held_out.intersection(learned),
    }
    for what, keys in found.items():
        if keys:
            user, asin = min(keys)
            raise ValueError(f"{len(keys)} reviews are {what}, such as the one of {asin!r} by {user!r}")


def check_shown(target: Target, prompt: Prompt) -> None:
    """Raise ValueError when a prompt shows its target, another user's review, or one that was not written before the target."""
    limit = (float("-inf") if target.timestamp is None else target.timestamp, target.asin)
    for review in (*(past.review for past in prompt.shown), *prompt.pooled):
        where = f"the prompt for {target.asin!r} by {target.user_id!r} shows"
        if review.user_id != target.user_id:
            raise ValueError(f"{where} a review of another user, {review.user_id!r}")
        if review.asin == target.asin:
            raise ValueError(f"{where} the target itself")
        if stable_order(review) >= limit:
            raise ValueError(f"{where} {review.asin!r}, which was not written before it")


def _histories(snapshot, user_ids: Iterable[str]) -> Iterator[tuple[str, list[Stored]]]:
    """(user, reviews in stable order), users sorted, a window of users at a time."""
    users = iter(sorted(user_ids))
    while window := list(islice(users, _WINDOW)):
        found = snapshot.histories(window)
        yield from ((user, found[user]) for user in window if user in found)


def _canonical(value) -> bytes:
    # Escaped, so that any user id, lone surrogates included, has bytes; JSON, so that no two lists have the same.
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
