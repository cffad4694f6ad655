"""`--peer-weighting distance`: eq. 4 with weights, as the authors of DEP compute it (the paper averages plainly)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np

from depcli.personal.difference import Peers, key_of
from depcli.personal.history import each_history
from depcli.records import Stored, stable_order

_ITEMS_AT_ONCE = 64


class WeighedPeers(Peers):
    """Differences from peers who count the more, the less they write like the user:

    e_diff = sum_j w_j (e_his - e_peer_j),   w = softmax_j(d_j / sum_k d_k),   d_j = |m_user - m_peer_j|,

    where m is the mean vector of what somebody wrote, `held_out` reviews aside: of a peer all of it, of the user what was written
    up to e_his, so that no later text, such as one to be learned, has a part in it. The quotients add up to 1 before the
    softmax, so with more than a few peers the weights are nearly equal: of m peers none weighs more than e times another, and
    with equal distances this is the plain mean. It needs the peers themselves, not their sum: every review of the items, and
    everything by everybody who wrote one, is read (each user once).
    """

    def __init__(self, snapshot, held_out: Iterable[tuple[str, str]] = (), *, min_peers: int = 1):
        super().__init__(snapshot, held_out, min_peers=min_peers)
        self._means: dict[str, np.ndarray] = {}

    def differences(self, entries: Sequence[Stored]) -> list[tuple[np.ndarray | None, int]]:
        found: dict[int, tuple[np.ndarray | None, int]] = {}
        own = self._means_by_then(entries)
        by_item: dict[str, list[int]] = {}
        for i, entry in enumerate(entries):
            by_item.setdefault(entry.review.asin, []).append(i)
        for start in range(0, len(by_item), _ITEMS_AT_ONCE):
            asins = sorted(by_item)[start : start + _ITEMS_AT_ONCE]
            everybody = self._snapshot.reviewers(asins)
            self._learn_means(entry.review.user_id for reviews in everybody.values() for entry in reviews)
            for asin in asins:
                for i in by_item[asin]:
                    found[i] = self._from_each(entries[i], own[i], everybody.get(asin, ()))
        return [found[i] for i in range(len(entries))]

    def _from_each(self, entry: Stored, mean: np.ndarray | None, everybody: Sequence[Stored]) -> tuple[np.ndarray | None, int]:
        peers = self._counted(peer for peer in everybody if peer.review.user_id != entry.review.user_id)
        if len(peers) < self.min_peers:
            return None, len(peers)
        away = [0.0 if mean is None else float(np.linalg.norm(mean - self._means[peer.review.user_id])) for peer in peers]
        gaps = entry.vector.astype(np.float64) - np.stack([peer.vector for peer in peers])
        return (weights(np.array(away)) @ gaps).astype(np.float32), len(peers)

    def _counted(self, entries: Iterable[Stored]) -> list[Stored]:
        return [entry for entry in entries if key_of(entry) not in self._held_out]

    def _means_by_then(self, entries: Sequence[Stored]) -> list[np.ndarray | None]:
        """For each review the mean (d,) float64 of what its user had written by then, it included; None when all is held out."""
        by_user: dict[str, list[int]] = {}
        for i, entry in enumerate(entries):
            by_user.setdefault(entry.review.user_id, []).append(i)
        means: list[np.ndarray | None] = [None] * len(entries)
        for user, history in each_history(self._snapshot, by_user):
            written = self._counted(history)
            orders = [stable_order(entry.review) for entry in written]
            sums = np.cumsum([entry.vector for entry in written], axis=0, dtype=np.float64)
            for i in by_user[user]:
                if count := bisect_right(orders, stable_order(entries[i].review)):
                    means[i] = sums[count - 1] / count
        return means

    def _learn_means(self, users: Iterable[str]) -> None:
        for user, history in each_history(self._snapshot, set(users) - self._means.keys()):
            vectors = [entry.vector for entry in self._counted(history)]
            if vectors:
                self._means[user] = np.mean(vectors, axis=0, dtype=np.float64)


def weights(distances: np.ndarray) -> np.ndarray:
    """(m,) float64 that add up to 1, from the distances (m,) of m peers."""
    total = distances.sum()
    raised = np.exp(distances / total) if total else np.ones(len(distances))
    return raised / raised.sum()
