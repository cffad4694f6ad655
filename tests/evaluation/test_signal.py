from __future__ import annotations

import numpy as np
import pytest

from depcli.errors import BadInput
from depcli.evaluation import signal
from depcli.evaluation.reembedded import Reembedded, reviews_to_embed
from depcli.records import EmbedderIdentity, Review
from depcli.store import Store
from tests.store.made import IDENTITY, MadeEmbedder, some_reviews, upsert

D = 16


def made(path, users: int, items: int, vector, *, each: int = 6, seed: int = 0, asin=lambda u, i: f"i{i}"):
    """A snapshot of a store of `users` users with `each` of `items` items each, and their vector(user, item, rng) -> (D,)."""
    rng = np.random.default_rng(seed)
    reviews, vectors = [], []
    for u in range(users):
        for n, i in enumerate(rng.permutation(items)[:each]):
            reviews.append(Review(f"u{u:03}", asin(u, i), f"{u} on {i}", timestamp=None if n == 0 else float(n // 2)))
            vectors.append(vector(u, i, rng))
    store = Store.create(path, EmbedderIdentity("planted", "0", D))
    vectors = np.array(vectors, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with store.writer() as writer:
        writer.upsert(reviews, vectors, (), source="planted")
    return store.snapshot()


def measured(snapshot, **options) -> dict:
    return signal.measure(snapshot, signal.held_out_reviews(snapshot), **options)


def slow(snapshot, kind: str, k: int | None, min_peers: int) -> tuple[float, float, float]:
    """(AUC, same-item rate, top-1 rate), one comparison at a time."""
    histories = {u: h for u, h in snapshot.histories(snapshot.user_ids()).items() if len(h) >= 4}
    held = {(u, h[-1].review.asin) for u, h in histories.items()}
    everything = [(s.review.user_id, s.review.asin, s.vector.astype(float)) for s in _all(snapshot)]

    def vector(user, asin, without=()):
        own = next(v for u, a, v in everything if (u, a) == (user, asin))
        if kind == "his":
            return own
        peers = [v for u, a, v in everything if a == asin and u not in (user, *without) and (u, a) not in held]
        return own - sum(peers) / len(peers) if len(peers) >= min_peers else None

    def cosine(a, b):
        return round(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))), 9)

    profiles, targets = {}, {}
    for user, history in histories.items():
        past = [v for s in history[:-1] if (v := vector(user, s.review.asin)) is not None]
        target = vector(user, history[-1].review.asin)
        if past and target is not None:
            profiles[user], targets[user] = np.mean(past[-k:] if k else past, axis=0), target
    shares, same, first = [], [], 0.0
    for user, target in targets.items():
        own = cosine(target, profiles[user])
        others = [cosine(target, profiles[other]) for other in profiles if other != user]
        shares.append(np.mean([(own > other) + 0.5 * (own == other) for other in others]))
        first += (own >= max(others)) / (1 + others.count(own))
        asin, wins = histories[user][-1].review.asin, []
        for rival in [u for u, a, _ in everything if a == asin and u != user]:
            mine, theirs = vector(user, asin, [rival]), vector(rival, asin, [user])
            if mine is not None and theirs is not None:
                a, b = cosine(mine, profiles[user]), cosine(theirs, profiles[user])
                wins.append((a > b) + 0.5 * (a == b))
        if wins:
            same.append(np.mean(wins))
    return float(np.mean(shares)), float(np.mean(same)) if same else None, first / len(targets)


def _all(snapshot):
    return [stored for history in snapshot.histories(snapshot.user_ids()).values() for stored in history]


@pytest.mark.parametrize(("seed", "min_peers"), [(0, 1), (1, 2), (2, 3)])
def test_the_same_as_one_comparison_at_a_time(tmp_path, seed, min_peers):
    directions = np.random.default_rng(seed).normal(size=(9, D))
    snapshot = made(tmp_path, 9, 7, lambda u, i, rng: 0.3 * directions[u] + rng.normal(size=D), each=5, seed=seed)
    found = measured(snapshot, min_peers=min_peers)
    for kind in signal.KINDS:
        for k, row in zip(signal.LAST, found[kind]["last"], strict=True):
            auc, same, first = slow(snapshot, kind, k, min_peers)
            assert row["auc"] == pytest.approx(auc) and row["top1"] == pytest.approx(first)
            assert row["same_item"] == pytest.approx(same)
            assert row["low"] <= row["auc"] <= row["high"]


def test_users_whose_vectors_are_all_their_own_are_always_found(tmp_path):
    found = measured(made(tmp_path, 12, 8, lambda u, i, rng: np.eye(D)[u]))
    for kind in signal.KINDS:
        assert found[kind]["users"] == found[kind]["last"][0]["same_users"] == 12
        for row in found[kind]["last"]:
            assert row["auc"] == row["same_item"] == row["top1"] == row["low"] == row["high"] == 1


def test_vectors_that_know_nothing_of_their_users_are_at_chance(tmp_path):
    found = measured(made(tmp_path, 80, 20, lambda u, i, rng: rng.normal(size=D)))
    for kind in signal.KINDS:
        assert found[kind]["chance"] == 1 / 80
        for row in found[kind]["last"]:
            assert row["auc"] == pytest.approx(0.5, abs=0.12) and row["same_item"] == pytest.approx(0.5, abs=0.12)
            assert row["top1"] < 0.1 and row["low"] < 0.56 and row["high"] > 0.44


def test_equal_vectors_are_a_draw(tmp_path):
    row = measured(made(tmp_path, 8, 5, lambda u, i, rng: np.ones(D), each=5))["his"]["last"][-1]
    assert row["auc"] == row["same_item"] == 0.5 and row["top1"] == pytest.approx(1 / 8)


def test_a_shared_topic_does_not_help_between_reviews_of_one_item(tmp_path):
    """Each half of the users writes about its own half of the items, and all that a vector knows is the item."""
    topics = np.random.default_rng(0).normal(size=(2, D))
    snapshot = made(
        tmp_path, 40, 8, lambda u, i, rng: topics[u % 2] + 0.3 * rng.normal(size=D), asin=lambda u, i: f"half{u % 2}-{i}"
    )
    last = measured(snapshot)["his"]["last"][-1]
    assert last["auc"] > 0.65 and last["same_item"] == pytest.approx(0.5, abs=0.12)


def test_the_interval_is_that_of_drawing_users_again():
    rng = np.random.default_rng(0)
    targets, profiles = (signal._unit(rng.normal(size=(7, 3))) for _ in range(2))
    draws = rng.multinomial(7, np.full(7, 1 / 7), 20)
    _, aucs, _ = signal._against_strangers(targets, profiles, draws)
    for weights, auc in zip(draws, aucs, strict=True):
        users = np.repeat(np.arange(7), weights)
        won = [float(targets[u] @ profiles[u] > targets[u] @ profiles[v]) for u in users for v in users if u != v]
        assert auc == pytest.approx(np.mean(won))


def test_a_limit_is_the_same_users_and_two_are_needed(tmp_path):
    snapshot = made(tmp_path, 12, 8, lambda u, i, rng: np.eye(D)[u])
    some = signal.held_out_reviews(snapshot, 5)
    assert len(some) == 5 and signal.held_out_reviews(snapshot, 7)[:5] == some
    assert measured(snapshot)["his"]["users"] == 12 and signal.measure(snapshot, some)["his"]["users"] == 5
    with pytest.raises(BadInput, match="fewer than two users"):
        signal.held_out_reviews(snapshot, 1)
    with pytest.raises(ValueError, match="not the last review"):
        signal.measure(snapshot, [signal.Target(some[0].user_id, "elsewhere", None), some[1]])


def test_without_peers_there_is_nothing_to_say_of_differences(tmp_path):
    reviews = [Review(f"u{u}", f"own{u}-{n}", f"{u} {n}", timestamp=float(n)) for u in range(3) for n in range(4)]
    store = Store.create(tmp_path, IDENTITY)
    upsert(store, reviews)
    found = measured(store.snapshot())
    assert found["diff"]["users"] == 0 and found["diff"]["chance"] is None
    assert all(row["auc"] is None and row["same_item"] is None for row in found["diff"]["last"])
    assert all(row["auc"] is not None and row["same_item"] is None and row["same_users"] == 0 for row in found["his"]["last"])


@pytest.mark.parametrize("as_of", [None, 103.0])
def test_texts_embedded_anew_give_what_a_store_of_them_gives(tmp_path, as_of):
    store = Store.create(tmp_path, IDENTITY)
    upsert(store, some_reviews())
    snapshot, embedder = store.snapshot(as_of=as_of), MadeEmbedder()
    targets, seen = signal.held_out_reviews(snapshot), []
    anew = Reembedded(snapshot, embedder, seen.append)
    assert signal.measure(anew, targets) == signal.measure(snapshot, targets)
    texts = {stored.review.text for stored in _all(snapshot)}
    assert len(embedder.texts) == len(set(embedder.texts)) == anew.texts == seen[-1] and set(embedder.texts) <= texts
    assert anew.texts <= reviews_to_embed(snapshot, [target.user_id for target in targets]) <= len(texts)
