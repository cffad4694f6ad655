from __future__ import annotations

import numpy as np
import pytest

from depcli.personal.difference import Peers
from depcli.records import Review
from tests.store.made import vector_of


def brute_force(review: Review, everything: list[Review]) -> tuple[np.ndarray | None, int]:
    """Eq. 4, peer by peer."""
    own = vector_of(review.text).astype(np.float64)
    gaps = [own - vector_of(other.text) for other in everything if other.asin == review.asin and other.user_id != review.user_id]
    return (sum(gaps) / len(gaps), len(gaps)) if gaps else (None, 0)


def check_all(snapshot, reviews: list[Review], held_out=frozenset()) -> None:
    peers = Peers(snapshot, held_out)
    known = [review for review in reviews if (review.user_id, review.asin) not in held_out]
    texts = {(review.user_id, review.asin): review for review in reviews}
    for history in snapshot.histories(snapshot.user_ids()).values():
        sums = peers.sums(entry.review.asin for entry in history)
        for entry in history:
            diff, count = peers.difference(entry, sums)
            expected, m = brute_force(texts[entry.review.user_id, entry.review.asin], known)
            assert count == m
            if m:
                np.testing.assert_allclose(diff, expected, atol=1e-6)
            else:
                assert diff is None


def test_differences_equal_eq_4_computed_peer_by_peer(snapshot, reviews):
    check_all(snapshot, reviews)


def test_held_out_reviews_count_for_nobody(snapshot, reviews):
    held_out = frozenset({("user1", "item0"), ("user2", "item0"), ("user4", "item3"), ("user0", "lonely")})
    check_all(snapshot, reviews, held_out)


def test_holding_out_all_peers_leaves_no_difference(snapshot):
    held_out = {(f"user{u}", "item0") for u in range(5)} - {("user1", "item0")}
    peers = Peers(snapshot, held_out)
    (entry,) = (e for e in snapshot.histories(["user1"])["user1"] if e.review.asin == "item0")
    assert peers.difference(entry, peers.sums(["item0"])) == (None, 0)


def test_real_reviews_of_every_user(real):
    reviews, store = real
    snapshot = store.snapshot()
    by_item: dict[str, list[np.ndarray]] = {}
    for review in reviews:
        by_item.setdefault(review.asin, []).append(vector_of(review.text).astype(np.float64))
    peers, checked = Peers(snapshot), 0
    for history in snapshot.histories(snapshot.user_ids()).values():
        sums = peers.sums(entry.review.asin for entry in history)
        for entry in history:
            diff, count = peers.difference(entry, sums)
            everyone = by_item[entry.review.asin]
            own = vector_of(entry.review.text).astype(np.float64)
            # own - mean of the others = mean over all n reviewers of (own - other) * n / (n - 1): own adds nothing
            expected = sum(own - other for other in everyone) / (len(everyone) - 1)
            np.testing.assert_allclose(diff, expected, atol=1e-6)
            assert count == len(everyone) - 1
            checked += 1
    assert checked == len(reviews)


def test_held_out_reviews_are_looked_up_once_for_a_snapshot(tmp_path):
    from tests.evaluation.world import make_store

    store = make_store(tmp_path / "p")
    snapshot, asked = store.snapshot(), []
    look, entries = snapshot.vectors, snapshot.histories(["ann"])["ann"]
    snapshot.vectors = lambda keys: asked.extend(keys) or look(keys)
    keys = {("bob", entries[0].review.asin), ("émile 🎬", entries[0].review.asin)}
    few, more = Peers(snapshot, keys).differences(entries), Peers(snapshot, [*keys]).differences(entries)
    assert sorted(asked) == sorted(keys) and [peers for _, peers in few] == [peers for _, peers in more]
    none = Peers(snapshot).differences(entries)
    assert len(asked) == 2 and [peers for _, peers in none] != [peers for _, peers in few], "other keys are other sums"
    assert [peers for _, peers in Peers(store.snapshot(), keys).differences(entries)] == [peers for _, peers in few]


def test_an_interrupted_look_up_leaves_no_half_of_a_sum(tmp_path, monkeypatch):
    from tests.evaluation.world import make_store

    store = make_store(tmp_path / "p")
    snapshot, calls = store.snapshot(), []
    entries = snapshot.histories(["ann"])["ann"]
    keys = {(user, entry.review.asin) for user in snapshot.user_ids() if user != "ann" for entry in entries}
    monkeypatch.setattr("depcli.personal.difference._AT_ONCE", 2)
    look, peers = snapshot.vectors, Peers(snapshot, keys)

    def interrupted(asked):
        calls.append(asked)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return look(asked)

    snapshot.vectors = interrupted
    with pytest.raises(KeyboardInterrupt):
        peers.differences(entries)
    again, fresh = peers.differences(entries), Peers(store.snapshot(), keys).differences(entries)
    assert len(calls) > 2 and [count for _, count in again] == [count for _, count in fresh] == [0] * len(entries)
