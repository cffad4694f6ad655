"""How a review differs from what others wrote about the same item: DEP eq. 4, from per-item sums.

e_diff = 1/m sum_j (e_his - e_peer_j) = e_his - (sum - e_his) / (n - 1), where n reviewers' vectors add up to `sum`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from depcli.records import ItemSum, Stored


class Peers:
    """Peer means over a store snapshot; over one of the past (`Store.snapshot(as_of=...)`) the peers of that moment.

    `held_out` reviews, (user_id, asin) keys, count as if they did not exist; their vectors are looked up once for a snapshot
    and subtracted from every sum. A difference from fewer than `min_peers` others is none: it would say much about what those
    few wrote.
    """

    def __init__(self, snapshot, held_out: Iterable[tuple[str, str]] = (), *, min_peers: int = 1):
        self._snapshot, self.min_peers = snapshot, min_peers
        self._held_out = frozenset(held_out)
        self._withheld = _withheld(snapshot, self._held_out)

    def sums(self, asins: Iterable[str]) -> dict[str, ItemSum]:
        """The sums of these items without the held-out reviews. Items nobody reviewed are absent."""
        sums = self._snapshot.sums(sorted(set(asins)))
        for asin in sums.keys() & self._withheld.keys():
            away = self._withheld[asin]
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


_KNOWN: WeakKeyDictionary = WeakKeyDictionary()  # snapshot -> (held-out keys, their sums): methods side by side ask the same


def _withheld(snapshot, held_out: frozenset[tuple[str, str]]) -> dict[str, ItemSum]:
    """The sums of the held-out reviews by item."""
    known, sums = _KNOWN.get(snapshot, (None, {}))
    if known == held_out:
        return sums
    sums, users = {}, sorted({user for user, _ in held_out})
    for start in range(0, len(users), 512):
        for stored in snapshot.histories(users[start : start + 512]).values():
            for entry in stored:
                if key_of(entry) in held_out:
                    asin, vector = entry.review.asin, entry.vector.astype(np.float64)
                    before = sums.get(asin)
                    sums[asin] = ItemSum(before.reviews + 1, before.total + vector) if before else ItemSum(1, vector)
    _KNOWN[snapshot] = held_out, sums
    return sums
