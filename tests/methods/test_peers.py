"""Representative peers against slow recomputations."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from depcli.methods.peers import CLUSTERS, anchors, representatives
from depcli.records import Item, PastReview, Review, Stored
from tests.personal.conftest import made_store
from tests.store.made import DATA, vector_of


def stored(vectors) -> list[Stored]:
    return [Stored(Review(f"user{n}", "item", f"text {n}"), np.asarray(v, np.float32)) for n, v in enumerate(vectors)]


def blobs(centres, each: int, spread: float = 0.01, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([centre + spread * random.normal(size=(each, len(centre))) for centre in np.asarray(centres, float)])


CENTRES = 10 * np.eye(5, 8)


def slow(own: np.ndarray, vectors: np.ndarray, groups: list[list[int]]) -> set[int]:
    """For every group but the own one: the member nearest to the mean of the group."""
    chosen = set()
    for group in groups:
        mean = vectors[group].mean(axis=0)
        chosen.add(min(group, key=lambda place: np.linalg.norm(vectors[place] - mean).round(9)))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_of_each_other_cluster_the_member_nearest_its_centre(seed):
    vectors = blobs(CENTRES, 7, spread=0.5, seed=seed).astype(np.float32)
    order = np.random.default_rng(seed).permutation(35)
    own_cluster = int(seed)
    own = (CENTRES[own_cluster] + 0.1).astype(np.float32)
    found = representatives(own, stored(vectors[order]))
    groups = [list(range(7 * c, 7 * c + 7)) for c in range(5) if c != own_cluster]
    expected = {f"text {list(order).index(place)}" for place in slow(own, vectors, groups)}
    assert {review.text for review in found} == expected and len(found) == 4


def test_larger_clusters_come_first():
    sizes = {0: 3, 1: 9, 2: 5, 3: 7, 4: 2}
    vectors = np.concatenate([blobs([CENTRES[c]], size) for c, size in sizes.items()])
    found = representatives(CENTRES[0].astype(np.float32), stored(vectors))
    assert [int(np.argmax(vectors[int(review.text.split()[1])])) for review in found] == [1, 3, 2, 4]


def test_four_peers_are_the_least_and_stand_for_themselves():
    vectors = blobs(CENTRES[1:], 1)
    own = CENTRES[0].astype(np.float32)
    assert {review.text for review in representatives(own, stored(vectors))} == {f"text {n}" for n in range(4)}
    assert representatives(own, stored(vectors[:3])) == [] == representatives(own, [])


def test_the_own_cluster_is_nobody():
    near = blobs([CENTRES[0]], 6)
    far = blobs(CENTRES[1:3], 4)
    found = representatives(CENTRES[0].astype(np.float32), stored(np.concatenate([near, far])))
    assert 1 <= len(found) <= 4 and {int(review.text.split()[1]) for review in found} & set(range(6, 14))


@pytest.mark.parametrize("different", [1, 2, 3])
def test_equal_texts_make_fewer_clusters_and_no_warning(different):
    vectors = np.concatenate([np.repeat(CENTRES[c : c + 1], 3, axis=0) for c in range(different)] + [CENTRES[:1]] * 4)
    found = representatives(CENTRES[0].astype(np.float32), stored(vectors))
    assert len(found) == different - 1


def test_the_choice_is_the_same_every_time():
    vectors = np.random.default_rng(3).normal(size=(60, 16))
    own = vectors[0].astype(np.float32)
    assert len({tuple(r.text for r in representatives(own, stored(vectors))) for _ in range(3)}) == 1


def past(review: Review) -> PastReview:
    return PastReview(review, Item(review.asin), vector_of(review.text), None, 0)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    reviews = [Review(f"user{u}", f"item{i}", f"user {u} on item {i}", 3.0, "", 100.0 + u) for u in range(9) for i in range(3)]
    reviews += [Review(f"user{u}", "rare", f"user {u} on rare", 3.0, "", 100.0 + u) for u in range(5)]
    return reviews, made_store(tmp_path_factory.mktemp("crowd"), reviews)


def test_neither_the_user_nor_what_is_held_out_is_a_peer(crowd):
    reviews, store = crowd
    mine = [past(review) for review in reviews if review.user_id == "user0"]
    held_out = {("user1", "item0"), ("user2", "item0"), ("user1", "rare")}
    found = anchors(store.snapshot(), mine, held_out)
    assert [anchor.past for anchor in found] == mine
    for anchor in found:
        keys = {(peer.user_id, peer.asin) for peer in anchor.peers}
        assert not keys & held_out and "user0" not in {user for user, _ in keys}
        assert {asin for _, asin in keys} <= {anchor.past.review.asin}
    assert [bool(anchor.peers) for anchor in found] == [True, True, True, False]  # three are left of the rare item's four


@pytest.mark.parametrize(("least", "expected"), [(1, [8, 8, 8, 4]), (5, [8, 8, 8, 0]), (9, [0, 0, 0, 0])])
def test_there_are_peers_where_as_many_as_are_asked_for_reviewed_the_item(crowd, least, expected):
    reviews, store = crowd
    mine = [past(review) for review in reviews if review.user_id == "user0"]
    found = anchors(store.snapshot(), mine, min_peers=least)
    assert [bool(anchor.peers) for anchor in found] == [bool(others) for others in expected]


def test_later_reviews_are_no_peers_of_the_past(crowd):
    reviews, store = crowd
    mine = [past(review) for review in reviews if review.user_id == "user0" and review.asin == "item1"]
    (then,) = anchors(store.snapshot(as_of=105.0), mine)
    assert then.peers and all(peer.timestamp <= 105.0 for peer in then.peers)
    (before,) = anchors(store.snapshot(as_of=103.0), mine)
    assert before.peers == ()


@pytest.mark.skipif(not DATA.is_dir(), reason="the research data is not beside the checkout (set DEP_DATA)")
def test_real_items_are_split_as_k_means_asks(tmp_path):
    from sklearn.cluster import KMeans

    with gzip.open(DATA / "rotten_tomatoes" / "reviews.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][:4000]
    by_item: dict[str, list[Review]] = {}
    for row in rows:
        by_item.setdefault(row["asin"], []).append(Review(row["user_id"], row["asin"], row["text"]))
    checked = 0
    for reviews in by_item.values():
        entries = [Stored(review, vector_of(review.text)) for review in reviews]
        if len(entries) < 6:
            continue
        own, others = entries[0], entries[1:]
        points = np.stack([entry.vector for entry in entries]).astype(np.float64)
        labels = KMeans(min(CLUSTERS, len({entry.review.text for entry in entries})), random_state=0).fit(points).labels_
        groups = [[i for i in range(len(points)) if labels[i] == label] for label in set(labels.tolist()) - {labels[0]}]
        expected = {entries[place].review for place in slow(own.vector, points, groups)}
        assert set(representatives(own.vector, others)) == expected
        checked += 1
    assert checked > 20
