"""How unusual a writer is: how far the mean of the user's vectors lies from the mean of all vectors, among all users."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from depcli.store.schema import matrix

_TOTALS_BYTES = 2**28  # the users' sums that are held at once: with more users the reviews are read several times
_AS_MUCH = 2.0  # "about as many reviews" is at least half and at most twice as many


@dataclass(frozen=True)
class Standing:
    """Where a user stands. `distance` is Euclidean; `percentile` the percentage of the other users who are nearer to the mean,
    None without others.

    The mean of a few reviews lies far from the mean of all by chance alone, so there is the same `among_similar`: among those
    `similar` others who wrote about as many reviews.
    """

    distance: float
    others: int
    percentile: float | None
    similar: int
    among_similar: float | None


def standing(snapshot, user_id: str) -> Standing:
    """Compare a user of the store with all the others. Reads every vector once, or a few times in a store of many users; memory
    stays flat."""
    users = snapshot.user_ids()
    reviews, distances = distances_to_mean(snapshot, users)
    place = users.index(user_id)
    others = np.arange(len(users)) != place
    similar = others & (reviews >= reviews[place] / _AS_MUCH) & (reviews <= reviews[place] * _AS_MUCH)
    nearer = distances < distances[place]
    return Standing(
        float(distances[place]), int(others.sum()), _percentage(nearer[others]), int(similar.sum()), _percentage(nearer[similar])
    )


def distances_to_mean(
    snapshot, users: list[str], held_out: Collection[tuple[str, str]] = frozenset()
) -> tuple[np.ndarray, np.ndarray]:
    """(number of reviews (n,) int64, distance (n,) float64 of their mean vector to the mean of all reviews) of these users, as if
    the `held_out` reviews, (user_id, asin) keys, did not exist: not all of anybody's."""
    dimension = snapshot.embedder.dimension
    reviews, distances = np.zeros(len(users), np.int64), np.zeros(len(users))
    at_once = max(1, _TOTALS_BYTES // (8 * dimension))
    for start in range(0, len(users), at_once):
        part = slice(start, start + at_once)
        reviews[part], means, mean = _means(snapshot, users[part], held_out, dimension)
        means -= mean
        distances[part] = np.sqrt(np.einsum("ij,ij->i", means, means))
    return reviews, distances


def _means(
    snapshot, users: list[str], held_out: Collection[tuple[str, str]], dimension: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(number of reviews (n,), mean vectors (n, d) float64 of these users, mean (d,) of all reviews), from one pass over all."""
    place = {user: i for i, user in enumerate(users)}
    counts, totals = np.zeros(len(users), np.int64), np.zeros((len(users), dimension))
    everybodys, total = 0, np.zeros(dimension)
    for rows in snapshot.review_rows(("user_id", "asin", "vector") if held_out else ("user_id", "vector")):
        if held_out:
            keys = zip(rows.column("user_id").to_pylist(), rows.column("asin").to_pylist(), strict=True)
            rows = rows.filter(pa.array([key not in held_out for key in keys], pa.bool_()))
        vectors = matrix(rows, "vector")
        everybodys += len(vectors)
        total += vectors.sum(axis=0, dtype=np.float64)
        for user, vector in zip(rows.column("user_id").to_pylist(), vectors, strict=True):  # quicker than sorting and reducing
            if user in place:
                counts[place[user]] += 1
                totals[place[user]] += vector
    totals /= counts[:, None]
    return counts, totals, total / everybodys


def _percentage(nearer: np.ndarray) -> float | None:
    return 100 * float(nearer.mean()) if len(nearer) else None
