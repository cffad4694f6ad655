"""How a review differs from what others wrote about the same item: DEP eq. 4, from per-item sums.

e_diff = 1/m sum_j (e_his - e_peer_j) = e_his - (sum - e_his) / (n - 1), where n reviewers' vectors add up to `sum`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from depcli.records import ItemSum, Stored

_AT_ONCE = 4096  # vectors that are looked up together


class Peers:
    """Peer means over a store snapshot; over one of the past (`Store.snapshot(as_of=...)`) the peers of that moment.

    `held_out` reviews, (user_id, asin) keys, count as if they did not exist: their vectors, each looked up once for a snapshot,
    are subtracted from the sums. A difference from fewer than `min_peers` others is none: it would say much about what those few
    wrote.
    """

    def __init__(self, snapshot, held_out: Iterable[tuple[str, str]] = (), *, min_peers: int = 1):
        self._snapshot, self.min_peers = snapshot, min_peers
        self._held_out = frozenset(held_out)
        self._withheld = _withheld(snapshot, self._held_out)  # methods side by side ask for the same

    def sums(self, asins: Iterable[str]) -> dict[str, ItemSum]:
        """The sums of these items without the held-out reviews. Items nobody reviewed are absent."""
        sums = self._snapshot.sums(sorted(set(asins)))
        for asin, away in self._withheld.sums(self._snapshot, sums).items():
            sums[asin] = ItemSum(sums[asin].reviews - away.reviews, sums[asin].total - away.total)
        return sums

    def differences(self, entries: Sequence[Stored]) -> list[tuple[np.ndarray | None, int]]:
        """`difference` of each of these reviews, with the store asked once."""
        sums = self.sums(entry.review.asin for entry in entries)
        return [self.difference(entry, sums) for entry in entries]

    def difference(self, entry: Stored, sums: Mapping[str, ItemSum]) -> tuple[np.ndarray | None, int]:
        """(e_diff (d,) float32, number of peers) of one review; e_diff is None when they are fewer than `min_peers`."""
        item = sums[entry.review.asin]
        counted = key_of(entry) not in self._held_out  # is this review itself part of the sum?
        peers = item.reviews - counted
        if peers < self.min_peers:
            return None, peers
        own = entry.vector.astype(np.float64)
        mean = (item.total - own if counted else item.total) / peers
        return (own - mean).astype(np.float32), peers


def key_of(entry: Stored) -> tuple[str, str]:
    """(user_id, asin), as held-out reviews are named."""
    return entry.review.user_id, entry.review.asin


class _Withheld:
    """The sums of the held-out reviews by item, added up when an item is first asked for."""

    def __init__(self, held_out: frozenset[tuple[str, str]]):
        self.held_out, self._sums = held_out, {}
        self._users: dict[str, list[str]] = {}
        for user, asin in sorted(held_out):
            self._users.setdefault(asin, []).append(user)

    def sums(self, snapshot, asins: Iterable[str]) -> dict[str, ItemSum]:
        """Those of these items that have any."""
        asins = [asin for asin in asins if asin in self._users]
        keys = [(user, asin) for asin in asins if asin not in self._sums for user in self._users[asin]]
        added = {asin: ItemSum(0, np.zeros(())) for _, asin in keys}
        for start in range(0, len(keys), _AT_ONCE):
            vectors = snapshot.vectors(keys[start : start + _AT_ONCE])
            for user, asin in keys[start : start + _AT_ONCE]:
                if (user, asin) in vectors:
                    before = added[asin]
                    added[asin] = ItemSum(before.reviews + 1, before.total + vectors[user, asin])
        self._sums |= added  # all at once: whoever was interrupted before this left nothing half added up
        return {asin: self._sums[asin] for asin in asins}


_KNOWN: WeakKeyDictionary = WeakKeyDictionary()  # snapshot -> the _Withheld that was last asked for


def _withheld(snapshot, held_out: frozenset[tuple[str, str]]) -> _Withheld:
    known = _KNOWN.get(snapshot)
    if known is None or known.held_out != held_out:
        known = _KNOWN[snapshot] = _Withheld(held_out)
    return known
