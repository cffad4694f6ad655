from __future__ import annotations

import numpy as np
import pytest

from depcli.evaluation.measures.alignment import alignments, chance, real_differences, signature
from depcli.records import Review
from depcli.splits.split import Target, choose, leave_last_out
from tests.evaluation.world import make_store
from tests.store.made import MadeEmbedder, vector_of


def line(target: Target, text: str, key: str = "id") -> dict:
    return {"id": key, "method": "m", "user_id": target.user_id, "asin": target.asin, "prediction": text}


def test_differences_are_from_the_mean_of_all_others(snapshot):
    targets = choose(leave_last_out(snapshot), "test")
    found = real_differences(snapshot, targets)
    assert len(found) > 2
    for target in targets:
        others = [e.vector for e in snapshot.reviewers([target.asin])[target.asin] if e.review.user_id != target.user_id]
        own = next(e.vector for e in snapshot.histories([target.user_id])[target.user_id] if e.review.asin == target.asin)
        if not others:
            assert target.key not in found
            continue
        one, mean = found[target.key], np.mean(np.array(others, np.float64), axis=0)
        assert one.peers == len(others)
        assert one.mean == pytest.approx(mean, abs=1e-6) and one.difference == pytest.approx(own - mean, abs=1e-6)


def test_a_floor_of_peers_makes_it_undefined(snapshot):
    targets = choose(leave_last_out(snapshot), "test")
    floor = real_differences(snapshot, targets, min_peers=3)
    assert {key: one.peers for key, one in real_differences(snapshot, targets).items() if one.peers >= 3} == {
        key: one.peers for key, one in floor.items()
    }


def test_cosines_the_slow_way(snapshot):
    embedder = MadeEmbedder()
    targets = choose(leave_last_out(snapshot), "test")
    real = real_differences(snapshot, targets)
    for one in real.values():  # the store's vectors have 12 dimensions, those of this embedder 16
        object.__setattr__(one, "mean", np.resize(one.mean, 16))
        object.__setattr__(one, "difference", np.resize(one.difference, 16))
    lines = [line(target, f"text {i}" * (i != 1), str(i)) for i, target in enumerate(targets * 30)]
    found = list(alignments(embedder.encode, lines, real))
    assert [entry["id"] for entry in found] == [entry["id"] for entry in lines]
    for asked, entry in zip(lines, found, strict=True):
        one = real.get((asked["user_id"], asked["asin"]))
        if one is None:
            assert (entry["cosine"], entry["peers"]) == (None, None)
        elif not asked["prediction"]:
            assert entry["cosine"] == 0 and entry["peers"] == one.peers
        else:
            a, b = vector_of(asked["prediction"]) - one.mean, one.difference
            assert entry["cosine"] == pytest.approx(sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5, abs=1e-6)
    assert "" not in embedder.texts


def test_copying_the_review_aligns_fully_and_copying_a_peer_against_it(tmp_path):
    """Two on one item: the mean of the peers is the other's review, and to write that is to differ not at all."""
    mine, theirs = Review("me", "film0", "mine", timestamp=1.0), Review("you", "film0", "theirs", timestamp=1.0)
    snapshot = make_store(tmp_path / "p", [mine, theirs]).snapshot()
    stored = {e.review.text: e.vector for e in snapshot.reviewers(["film0"])["film0"]}
    target = Target("me", "film0", 1.0)
    real = real_differences(snapshot, [target])
    asked = [line(target, text) for text in ("mine", "theirs", " \n")]
    found = [entry["cosine"] for entry in alignments(lambda texts: np.stack([stored[t] for t in texts]), asked, real)]
    assert found == [pytest.approx(1, abs=1e-6), pytest.approx(0, abs=1e-3), 0]


def test_without_direction_it_is_undefined(tmp_path):
    same = [Review(user, "film0", "the same", timestamp=1.0) for user in ("me", "you")]
    store = make_store(tmp_path / "p", [Review("else", "film1", "x")])
    with store.writer() as writer:
        vector = np.zeros((1, 12), np.float32)
        vector[0, 0] = 1
        writer.upsert(same, np.repeat(vector, 2, axis=0), [], source="twins")
    assert real_differences(store.snapshot(), [Target("me", "film0", 1.0)]) == {}


def test_the_signature_names_the_embedder_and_the_floor():
    assert "made 1" in signature(MadeEmbedder(), 3) and "at least 3 peers" in signature(MadeEmbedder(), 3)


@pytest.mark.parametrize("peers", [1, 2, 9])
def test_chance_is_what_unrelated_reviews_get(peers):
    """A real review, a generated one and the peers', all drawn alike: reviews of one item that share nothing else."""
    rng = np.random.default_rng(peers)
    item = 3 * rng.normal(size=200)
    cosines = []
    for _ in range(300):
        real, generated, *others = item + rng.normal(size=(2 + peers, 200))
        a, b = generated - np.mean(others, axis=0), real - np.mean(others, axis=0)
        cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert np.mean(cosines) == pytest.approx(chance([peers]), abs=0.02)
    assert chance([1, 3]) == (1 / 2 + 1 / 4) / 2
