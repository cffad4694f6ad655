"""Distances to the mean and percentiles against the slow way, in one pass over the reviews and in many."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.personal import unusual
from depcli.records import Review
from depcli.store import Store
from tests.store.made import IDENTITY, D, some_reviews, upsert


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("unusual"), IDENTITY)
    reviews = some_reviews(users=30)
    reviews += [Review("one", "item1", "only this"), *(Review("many", f"other{n}", f"many {n}") for n in range(40))]
    upsert(store, reviews[::2])
    upsert(store, reviews[1::2])
    return store.snapshot()


def slow(snapshot) -> tuple[dict[str, int], dict[str, float]]:
    histories = {user: np.array([s.vector for s in found], np.float64) for user, found in _histories(snapshot).items()}
    mean = np.concatenate(list(histories.values())).mean(axis=0)
    return (
        {user: len(vectors) for user, vectors in histories.items()},
        {user: float(np.linalg.norm(vectors.mean(axis=0) - mean)) for user, vectors in histories.items()},
    )


def _histories(snapshot):
    return snapshot.histories(snapshot.user_ids())


@pytest.mark.parametrize("users_at_once", [1, 7, 1000])
def test_distances_are_those_of_the_means(snapshot, monkeypatch, users_at_once):
    monkeypatch.setattr(unusual, "_TOTALS_BYTES", 8 * D * users_at_once)
    users = snapshot.user_ids()
    counted, expected = slow(snapshot)
    reviews, distances = unusual.distances_to_mean(snapshot, users)
    assert dict(zip(users, reviews.tolist(), strict=True)) == counted
    assert np.abs(distances - [expected[user] for user in users]).max() < 1e-12


def test_held_out_reviews_have_no_part_in_a_distance(snapshot):
    histories = _histories(snapshot)
    users = [user for user in histories if len(histories[user]) > 1]
    held_out = {(user, histories[user][-1].review.asin) for user in users[::2]}
    kept = {
        user: [entry.vector for entry in found if (user, entry.review.asin) not in held_out] for user, found in histories.items()
    }
    mean = np.concatenate([np.array(vectors, np.float64) for vectors in kept.values()]).mean(axis=0)
    reviews, distances = unusual.distances_to_mean(snapshot, users, held_out)
    assert reviews.tolist() == [len(kept[user]) for user in users]
    expected = [np.linalg.norm(np.mean(kept[user], axis=0, dtype=np.float64) - mean) for user in users]
    assert np.abs(distances - expected).max() < 1e-12
    assert not np.allclose(distances, unusual.distances_to_mean(snapshot, users)[1])


def test_the_percentile_counts_the_other_users_who_are_nearer(snapshot):
    counted, distance = slow(snapshot)
    for user in ("user0", "user7", "one", "many"):
        found = unusual.standing(snapshot, user)
        others = [other for other in distance if other != user]
        similar = [other for other in others if counted[user] / 2 <= counted[other] <= counted[user] * 2]
        assert (found.others, found.similar) == (len(others), len(similar))
        for percentile, among in ((found.percentile, others), (found.among_similar, similar)):
            nearer = sum(distance[other] < distance[user] for other in among)
            assert percentile == (pytest.approx(100 * nearer / len(among)) if among else None)
    assert unusual.standing(snapshot, "one").among_similar is None  # nobody else wrote one or two reviews


def test_the_only_user_is_compared_with_nobody(tmp_path):
    store = Store.create(tmp_path, IDENTITY)
    upsert(store, [Review("only", "item1", "one"), Review("only", "item2", "two")])
    found = unusual.standing(store.snapshot(), "only")
    assert (found.others, found.percentile, found.among_similar) == (0, None, None) and found.distance < 1e-12
