"""How a review differs from what others wrote about the same item: DEP eq. 4, from per-item sums.

e_diff = 1/m sum_j (e_his - e_peer_j) = e_his - (sum - e_his) / (n - 1), where n reviewers' vectors add up to `sum`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from depcli.records import ItemSum, Stored


class Peers:
    """Peer means over a store snapshot. Held-out reviews count as if they did not exist.

    `held_out` are (user_id, asin) keys; their vectors are looked up once and subtracted from every sum.
    """

    def __init__(self, snapshot, held_out: Iterable[tuple[str, str]] = ()):
        self._snapshot = snapshot
        self._held_out = frozenset(held_out)
        self._withheld: dict[str, ItemSum] = {}
        users = sorted({user for user, _ in self._held_out})
        for start in range(0, len(users), 512):
            for stored in snapshot.histories(users[start : start + 512]).values():
                for entry in stored:
                    if _key(entry) in self._held_out:
                        self._withhold(entry)

    def _withhold(self, entry: Stored) -> None:
        asin, vector = entry.review.asin, entry.vector.astype(np.float64)
        before = self._withheld.get(asin)
        self._withheld[asin] = ItemSum(before.reviews + 1, before.total + vector) if before else ItemSum(1, vector)

    def sums(self, asins: Iterable[str]) -> dict[str, ItemSum]:
        """The sums of these items without the held-out reviews. Items nobody reviewed are absent."""
        sums = self._snapshot.sums(sorted(set(asins)))
        for asin in sums.keys() & self._withheld.keys():
            away = self._withheld[asin]
            sums[asin] = ItemSum(sums[asin].reviews - away.reviews, sums[asin].total - away.total)
        return sums

    def difference(self, entry: Stored, sums: Mapping[str, ItemSum]) -> tuple[np.ndarray | None, int]:
        """(e_diff (d,) float32, number of peers) of one review; (None, 0) when nobody else reviewed the item."""
        item = sums[entry.review.asin]
        counted = _key(entry) not in self._held_out  # is this review itself part of the sum?
        peers = item.reviews - counted
        if peers <= 0:
            return None, 0
        own = entry.vector.astype(np.float64)
        mean = (item.total - own if counted else item.total) / peers
        return (own - mean).astype(np.float32), peers


def _key(entry: Stored) -> tuple[str, str]:
    return entry.review.user_id, entry.review.asin
