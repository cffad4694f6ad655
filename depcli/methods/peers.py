"""Representative peers: a few reviews by others that stand for all that others wrote about an item (DPL, section 3).

k-means over the stored vectors of everybody's reviews, the user's own included; the cluster that holds the own review is left
out, and each other cluster is stood for by the member nearest to its centre. Of an item that thousands reviewed some are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from depcli.methods.base import MIN_PEERS, Anchor
from depcli.records import PastReview, Review, Stored

CLUSTERS, SEED = 5, 0
MOST = 2000  # reviews of an item that are clustered: of more, so many are drawn


def anchors(
    snapshot, history: Sequence[PastReview], held_out: Iterable[tuple[str, str]] = (), min_peers: int = 1
) -> list[Anchor]:
    """The reviews of a history, each with its representative peers in `snapshot`: none where fewer than four others, or than
    `min_peers`, reviewed the item. `held_out` reviews (user_id, asin) are nobody's peers."""
    held_out = frozenset(held_out)
    everybody = snapshot.reviewers([past.review.asin for past in history], MOST)
    found = []
    for past in history:
        others = [
            entry
            for entry in everybody.get(past.review.asin, ())
            if entry.review.user_id != past.review.user_id and (entry.review.user_id, entry.review.asin) not in held_out
        ]
        found.append(Anchor(past, tuple(representatives(past.his, others) if len(others) >= min_peers else ())))
    return found


def representatives(own: np.ndarray, others: Sequence[Stored]) -> list[Review]:
    """At most four of the reviews `others` for an own review with the vector (d,), those of larger clusters first; ties go to the
    review that comes first. None when there are fewer than four others."""
    if len(others) < MIN_PEERS:
        return []
    from sklearn.cluster import KMeans

    points = np.stack([own, *(entry.vector for entry in others)]).astype(np.float64)
    clusters = min(CLUSTERS, len(np.unique(points, axis=0)))  # equal texts have equal vectors
    kmeans = KMeans(clusters, random_state=SEED).fit(points)
    # Rounded, since two members of a cluster are equally far from its centre: the first shall win, not the last bit.
    away = np.linalg.norm(points - kmeans.cluster_centers_[kmeans.labels_], axis=1).round(9)
    members = [np.flatnonzero(kmeans.labels_ == label) for label in range(clusters) if label != kmeans.labels_[0]]
    members.sort(key=lambda places: (-len(places), places[0]))
    return [others[places[np.argmin(away[places])] - 1].review for places in members]
