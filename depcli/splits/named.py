"""The splits by their names: which one is asked for, as one text such as "unseen-users:0.2", and what it makes of a store.

leave-last-out[:N]   each user's last N reviews are tested, the N before validate, and what comes before is learned
time[:MOMENT]        what was written from a moment on is tested, what was written shortly before validates
unseen-users[:SHARE] the last reviews of users who are never trained on; as many other such users validate
cold-start[:K]       the same users when only their first K reviews are known: the one after them is tested
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import floor

from depcli.errors import BadInput
from depcli.splits.split import (
    LEAVE_LAST_OUT,
    MIN_REVIEWS,
    TARGETS_PER_USER,
    Split,
    Target,
    by_user,
    candidates,
    leave_last_out,
    make_split,
    user_by_hash,
)

SHARE, KNOWN = 0.2, 2
_LATEST = 0.1  # share of the reviews that are tested when no moment is named; of those before, the same share validates
_Users = dict[str, list[Target]]  # as by_user gives them


def make(snapshot, asked: str = LEAVE_LAST_OUT, *, targets_per_user: int = TARGETS_PER_USER) -> Split:
    """The split that is asked for. Its name says what was not: the same name on the same store is the same split.

    Raises BadInput for a text that names none, and where a role would be empty.
    """
    kind, value = parse(asked)
    if kind == LEAVE_LAST_OUT:
        split = leave_last_out(snapshot, last=value or 1, targets_per_user=targets_per_user)
        if not split.test:
            raise BadInput(
                f"no user has the {2 * (value or 1) + 2:,} reviews, each with a text of its own, that {split.name} takes",
                _MORE[kind],
            )
    else:
        split = _MAKE[kind](by_user(snapshot), value, targets_per_user)
    if empty := [role for role in ("train", "validation", "test") if not getattr(split, role)]:
        raise BadInput(f"the split {split.name} leaves no review to {' or '.join(_VERBS[role] for role in empty)}", _MORE[kind])
    return split


def parse(asked: str) -> tuple[str, float | int | None]:
    """(kind, its number, None where none is given) of a split's name. Raises BadInput."""
    kind, colon, said = asked.partition(":")
    if kind not in _READ:
        raise BadInput(f"no split {asked!r}", f"known: {', '.join(_READ)}; such as unseen-users:0.2 or time:2009-05-31")
    try:
        return kind, _READ[kind](said) if colon else None
    except ValueError as error:
        raise BadInput(f"the split {asked!r}: {error}", _FORMS[kind]) from error


def _by_time(users: _Users, moment: float | None, targets_per_user: int) -> Split:
    """Nothing written after the validation begins is learned, or counts among the peers, for whatever is written again. Of each
    user the first review of either period is a target."""
    times = [target.timestamp for targets in users.values() for target in targets]
    if untimed := times.count(None):
        latest = max((time for time in times if time is not None), default=0)
        raise BadInput(
            f"{untimed:,} reviews have no time, so they cannot be split by it",
            f"leave them out: --as-of {_moment_text(floor(latest) + 1)}",
        )
    if not times:
        raise BadInput("there are no reviews to split by time", _MORE["time"])
    times.sort()
    since = floor(times[floor((1 - _LATEST) * len(times))]) if moment is None else moment
    before = [time for time in times if time < since]
    validating = before[floor((1 - _LATEST) * len(before))] if before else since
    roles: dict[str, list[Target]] = {"train": [], "validation": [], "test": []}
    for targets in users.values():
        later = candidates(targets)
        roles["test"] += [target for target in later if target.timestamp >= since][:1]
        roles["validation"] += [target for target in later if validating <= target.timestamp < since][:1]
        roles["train"] += [target for target in later if target.timestamp < validating][-targets_per_user:]
    return make_split(
        f"time:{_moment_text(since)}",
        **roles,
        users=users,
        since=validating,
        withheld=[target.key for targets in users.values() for target in targets if target.timestamp >= validating],
    )


def _by_user(users: _Users, share: float | None, targets_per_user: int) -> Split:
    share = SHARE if share is None else share
    return _unseen(f"unseen-users:{share:g}", users, share, targets_per_user, lambda targets: candidates(targets)[-1])


def _by_start(users: _Users, known: int | None, targets_per_user: int) -> Split:
    known = KNOWN if known is None else known

    def after(reviews: list[Target]) -> Target | None:
        return reviews[known] if known < len(reviews) and not reviews[known].repeats else None

    return _unseen(f"cold-start:{known}", users, SHARE, targets_per_user, after)


def _unseen(
    name: str, users: _Users, share: float, targets_per_user: int, pick: Callable[[list[Target]], Target | None]
) -> Split:
    """A share of the users, drawn by hash, is tested, the next share validates; none of their reviews is learned, or counts among
    the peers. `pick` says which of a user's reviews is the target."""
    able = sorted((user for user, targets in users.items() if 1 + len(candidates(targets)) >= MIN_REVIEWS), key=user_by_hash)
    count = max(1, round(share * len(able)))
    whose = {"test": sorted(able[:count]), "validation": sorted(able[count : 2 * count]), "train": sorted(able[2 * count :])}
    picked = {
        role: [target for user in whose[role] if (target := pick(users[user])) is not None] for role in ("validation", "test")
    }
    unseen = {*whose["test"], *whose["validation"]}
    return make_split(
        name,
        **picked,
        train=[target for user in whose["train"] for target in candidates(users[user])[-targets_per_user:]],
        users=users,
        unseen=unseen,
        withheld=[target.key for user in unseen for target in users[user]],
    )


def _moment(said: str) -> int:
    from depcli.readers.entries import BadField
    from depcli.readers.fields import moment

    try:
        return floor(moment(said))  # as the name of the split says it
    except BadField as error:
        raise ValueError("no time") from error


def _moment_text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _share(said: str) -> float:
    share = float(said)
    if not 0 < share < 0.5:
        raise ValueError(f"{said} is no share below one half")
    return share


def _whole(said: str) -> int:
    if not (said.isascii() and said.removeprefix("-").isdigit()):
        raise ValueError(f"{said!r} is no whole number")
    return int(said)


def _last(said: str) -> int:
    last = _whole(said)
    if last < 1:
        raise ValueError("without a review to test there is nothing to evaluate")
    return last


def _known(said: str) -> int:
    known = _whole(said)
    if known < 1:
        raise ValueError("with no review known there is nothing personal")
    return known


_READ: Mapping[str, Callable] = {LEAVE_LAST_OUT: _last, "time": _moment, "unseen-users": _share, "cold-start": _known}
_FORMS = {
    LEAVE_LAST_OUT: "such as leave-last-out:10, the last ten reviews of each user; the ten before validate",
    "time": "such as time:2009, time:2009-05-31 or time:2009-05-31T18:00, from when on reviews are tested",
    "unseen-users": "such as unseen-users:0.2, a fifth of the users; as many others validate",
    "cold-start": "such as cold-start:2, the first two reviews of a user",
}
_MAKE = {"time": _by_time, "unseen-users": _by_user, "cold-start": _by_start}
_VERBS = {"train": "learn", "validation": "validate on", "test": "test"}
_MORE = {
    LEAVE_LAST_OUT: "ingest more of somebody, or where there is an N in it, name a smaller one: it takes 2 N + 2 reviews",
    "time": "name another moment, such as time:2009-05-31, or ingest more reviews",
    "unseen-users": "name another share, or ingest more users with four reviews or more",
    "cold-start": "name a smaller K, or ingest more users with four reviews or more",
}
