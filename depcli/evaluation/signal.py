"""`dep signal`: how well vectors tell users apart, before anything is trained.

Each user's last review is held out; a profile is the mean of their last K vectors before it. Two questions, for the vectors of
reviews (his) and for their differences from the peers (diff, eq. 4 with all held-out reviews subtracted from the sums):

any user    Is the author's profile nearer (cosine) to the held-out review than another user's profile?
same item   Of the held-out review and another user's review of the same item, is the own one nearer to the author's profile?
            Both are about the same thing, so that shared topics do not help; both differ from the same peers, all but these two.
            (Of an item with many reviews some hundred others', drawn by hash, are compared.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from depcli.errors import BadInput
from depcli.personal.difference import Peers
from depcli.records import ItemSum, Stored
from depcli.splits.split import Target, choose, leave_last_out

KINDS = ("his", "diff")
LAST = (1, 2, 4, 8, None)  # K; None: the whole history
RESAMPLES, CONFIDENCE = 1000, 0.95
_WINDOW = 256  # users, or rows of the users' table, at once
_ITEMS = 16  # items whose reviewers are looked up together
_RIVALS = 512  # others' reviews of an item that are compared: of more, so many are drawn


@dataclass
class _Table:
    """What is known of n users in one kind of vector: unit held-out vectors (d,), unit profiles (len(LAST), d), and the share
    (len(LAST),) of others' reviews of the same item that are farther, NaN where there are none."""

    users: list[str] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    profiles: list[np.ndarray] = field(default_factory=list)
    beaten: list[np.ndarray] = field(default_factory=list)


def held_out_reviews(snapshot, limit: int | None = None) -> list[Target]:
    """The last review of each user with four or more, as `dep eval` tests them: of all users, or of `limit` drawn by hash. Raises
    BadInput when there are not two."""
    targets = choose(leave_last_out(snapshot), "test", limit)
    if len(targets) < 2:
        raise BadInput(
            "fewer than two users have a history and a review to hold out", "ingest more users, with four reviews or more"
        )
    return targets


def measure(
    snapshot, targets: Sequence[Target], *, min_peers: int = 1, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> dict:
    """{kind: {"users", "chance", "last": [{"k", "auc", "low", "high", "top1", "same_item", "same_low", "same_high",
    "same_users"}, ...]}}.

    `targets` are users' last reviews; `snapshot` needs only histories(), reviewers(), sums() and vectors(). An AUC is the mean
    over users of the share of strangers that the user beats, ties one half; its interval is the percentile interval when users
    are drawn again, as authors and as strangers at once. `top1` is the share of held-out reviews whose nearest profile is their
    author's, `chance` what guessing would reach, `same_users` how many have a held-out review of an item that others reviewed.
    None: nothing to compare. `on_progress` gets (users done, users).
    """
    tables = _tables(snapshot, targets, min_peers, on_progress)
    return {kind: _summary(table) for kind, table in tables.items()}


def _tables(snapshot, targets: Sequence[Target], min_peers: int, on_progress) -> dict[str, _Table]:
    held_out = {target.key for target in targets}
    peers, tables = Peers(snapshot, held_out, min_peers=min_peers), {kind: _Table() for kind in KINDS}
    done, by_item = 0, sorted(targets, key=lambda target: (target.asin, target.user_id))
    for start in range(0, len(by_item), _WINDOW):
        window = by_item[start : start + _WINDOW]
        histories = snapshot.histories([target.user_id for target in window])
        sums = peers.sums(entry.review.asin for history in histories.values() for entry in history)
        for group in _by_items(window):
            reviewers = snapshot.reviewers(sorted({target.asin for target in group}), _RIVALS)
            for target in group:
                *past, last = histories[target.user_id]
                if last.review.asin != target.asin:
                    raise ValueError(f"{target.asin!r} is not the last review of {target.user_id!r}")
                rivals = [entry for entry in reviewers[target.asin] if entry.review.user_id != target.user_id]
                _enter(tables["his"], target, last.vector, (entry.vector for entry in past), _plain_pairs(last, rivals))
                difference, _ = peers.difference(last, sums)
                if difference is not None:
                    differences = (peers.difference(entry, sums)[0] for entry in past)
                    pairs = _different_pairs(last, rivals, sums[target.asin], held_out, min_peers)
                    _enter(tables["diff"], target, difference, (found for found in differences if found is not None), pairs)
                done += 1
                on_progress(done, len(targets))
    return tables


def _by_items(targets: Sequence[Target]) -> Iterable[list[Target]]:
    """Targets, sorted by item, in groups of a few items."""
    of = defaultdict(list)
    for target in targets:
        of[target.asin].append(target)
    asins = list(of)
    for start in range(0, len(asins), _ITEMS):
        yield [target for asin in asins[start : start + _ITEMS] for target in of[asin]]


def _enter(table: _Table, target: Target, held_out: np.ndarray, past: Iterable[np.ndarray], pairs: tuple) -> None:
    """Add a user, unless nothing is known of them before the held-out review. `pairs` are (own (r, d), rival (r, d))."""
    vectors = np.array(list(past), np.float64)
    if not len(vectors):
        return
    profiles = _unit(np.stack([vectors[-k:].mean(axis=0) if k else vectors.mean(axis=0) for k in LAST]))
    own, rival = (_nearness(_unit(rows), profiles) for rows in pairs)
    table.users.append(target.user_id)
    table.targets.append(_unit(np.asarray(held_out, np.float64)))
    table.profiles.append(profiles)
    table.beaten.append(_beats(own, rival).mean(axis=0) if len(rival) else np.full(len(LAST), np.nan))


def _plain_pairs(own: Stored, rivals: Sequence[Stored]) -> tuple[np.ndarray, np.ndarray]:
    """The held-out vector (r, d), once per rival, beside the rivals' (r, d) float64."""
    d = len(own.vector)
    others = np.array([rival.vector for rival in rivals], np.float64).reshape(-1, d)
    return np.broadcast_to(own.vector.astype(np.float64), others.shape), others


def _different_pairs(
    own: Stored, rivals: Sequence[Stored], item: ItemSum, held_out: set[tuple[str, str]], min_peers: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same as differences from the mean of all peers but the two; `item` is the item's sum without held-out reviews."""
    mine, others = _plain_pairs(own, rivals)
    counted = np.array([(rival.review.user_id, rival.review.asin) not in held_out for rival in rivals], bool)
    peers = item.reviews - counted
    enough = peers >= min_peers
    means = (item.total - others * counted[:, None])[enough] / peers[enough, None]
    return mine[enough] - means, others[enough] - means


def _summary(table: _Table) -> dict:
    users = len(table.users)
    document = {"users": users, "chance": 1 / users if users > 1 else None, "last": []}
    beaten = np.stack(table.beaten) if users else np.empty((0, len(LAST)))
    draws = np.random.default_rng(0).multinomial(users, np.full(users, 1 / users), RESAMPLES) if users > 1 else None
    for i, k in enumerate(LAST):
        row = dict.fromkeys(("auc", "low", "high", "top1", "same_item", "same_low", "same_high", "same_users"))
        if users > 1:
            shares, among_strangers, row["top1"] = _against_strangers(
                np.stack(table.targets), np.stack([profiles[i] for profiles in table.profiles]), draws
            )
            row |= {"auc": float(shares.mean()), **_interval(among_strangers, "")}
            there = ~np.isnan(beaten[:, i])
            row["same_users"] = int(there.sum())
            if there.any():
                row["same_item"] = float(beaten[there, i].mean())
                weights = draws[:, there].astype(np.float64)
                drawn = weights.sum(axis=1)
                row |= _interval((weights @ beaten[there, i])[drawn > 0] / drawn[drawn > 0], "same_")
        document["last"].append({"k": k or "all", **row})
    return document


def _against_strangers(targets: np.ndarray, profiles: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(share (n,) of strangers that each user beats, AUC (resamples,) of each draw of users, top-1 rate) from unit rows (n, d)
    and how often each user is drawn (resamples, n). A user drawn twice is no stranger to themselves."""
    n = len(targets)
    shares, first, weights = np.empty(n), 0.0, draws.T.astype(np.float64)
    won, pairs = np.zeros(len(draws)), np.zeros(len(draws))
    for start in range(0, n, _WINDOW):
        rows = np.arange(start, min(start + _WINDOW, n))
        near = _nearness(targets[rows], profiles)
        own = near[np.arange(len(rows)), rows][:, None]
        beats = _beats(own, near)
        first += ((near <= own).all(axis=1) / (near == own).sum(axis=1)).sum()  # of equally near ones each has its part
        beats[np.arange(len(rows)), rows] = 0
        shares[rows] = beats.sum(axis=1) / (n - 1)
        won += (weights[rows] * (beats @ weights)).sum(axis=0)
        pairs += (weights[rows] * (weights.sum(axis=0) - weights[rows])).sum(axis=0)
    return shares, won[pairs > 0] / pairs[pairs > 0], float(first / n)


def _beats(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1.0 where own is nearer, 0.5 where it is as near, else 0.0."""
    return (own > other) + 0.5 * (own == other)


def _nearness(rows: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Cosines (n, m) of unit rows, rounded: equal vectors shall be equally near, whatever the order of additions."""
    return (rows @ profiles.T).round(9)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one; those of length zero stay as they are."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _interval(values: np.ndarray, prefix: str) -> dict[str, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {f"{prefix}low": float(low), f"{prefix}high": float(high)}
