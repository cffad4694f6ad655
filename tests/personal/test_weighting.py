"""Weighted differences against the formula, computed peer by peer."""

from __future__ import annotations

from collections import defaultdict
from math import exp

import numpy as np
import pytest

from depcli import methods
from depcli.personal.choices import Choices
from depcli.personal.difference import Peers
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.personal.weighting import WeighedPeers, weights
from depcli.records import Request, Review, Slot, stable_order
from tests.personal.conftest import made_store
from tests.personal.test_prompts import CHAT, TARGET, count
from tests.store.made import vector_of


def slow(review: Review, everything: list[Review]) -> tuple[np.ndarray | None, int]:
    """Peer by peer, from the texts of everything that counts; of the user's own only what was written by then."""
    texts = defaultdict(list)
    for one in everything:
        if one.user_id == review.user_id and stable_order(one) > stable_order(review):
            continue
        texts[one.user_id].append(vector_of(one.text).astype(np.float64))
    mean = {user: sum(vectors) / len(vectors) for user, vectors in texts.items()}
    peers = [one for one in everything if one.asin == review.asin and one.user_id != review.user_id]
    if not peers:
        return None, 0
    mine = mean.get(review.user_id)  # what is held out is no part of it, be it all there was
    away = [0.0 if mine is None else float(np.linalg.norm(mine - mean[peer.user_id])) for peer in peers]
    raised = [exp(distance / sum(away)) if sum(away) else 1.0 for distance in away]
    own = vector_of(review.text).astype(np.float64)
    return sum(e / sum(raised) * (own - vector_of(peer.text)) for e, peer in zip(raised, peers, strict=True)), len(peers)


@pytest.mark.parametrize("held_out", [frozenset(), frozenset({("user1", "item0"), ("user2", "item0"), ("user4", "item3")})])
@pytest.mark.parametrize("moment", [None, 102.0])
def test_every_difference_is_that_of_the_formula(snapshot, reviews, held_out, moment, tmp_path):
    if moment is not None:
        snapshot = made_store(tmp_path / "past", reviews).snapshot(as_of=moment)
    there = [one for one in reviews if moment is None or one.timestamp <= moment]
    known = [one for one in there if (one.user_id, one.asin) not in held_out]
    by_key = {(one.user_id, one.asin): one for one in there}
    entries = [entry for history in snapshot.histories(snapshot.user_ids()).values() for entry in history]
    assert len(entries) == len(there)
    plain, differs = Peers(snapshot, held_out), 0
    for entry, (found, others) in zip(entries, WeighedPeers(snapshot, held_out).differences(entries), strict=True):
        expected, m = slow(by_key[entry.review.user_id, entry.review.asin], known)
        assert others == m == plain.differences([entry])[0][1] and (found is None) == (m == 0)
        if m:
            np.testing.assert_allclose(found, expected, atol=1e-6)
            differs += m > 1 and not np.allclose(found, plain.differences([entry])[0][0], atol=1e-4)
    assert differs > 5


def test_weights_grow_with_the_distance_and_equal_ones_are_the_plain_mean():
    found = weights(np.array([0.1, 0.4, 0.2]))
    assert found.sum() == pytest.approx(1) and found[1] > found[2] > found[0] > found[1] / np.e
    assert weights(np.full(5, 0.3)).tolist() == pytest.approx([0.2] * 5)
    assert weights(np.zeros(2)).tolist() == [0.5, 0.5] and weights(np.array([7.0])).tolist() == [1.0]


def test_too_few_peers_make_no_difference(snapshot):
    entries = snapshot.histories(["user0"])["user0"]
    found = WeighedPeers(snapshot, min_peers=3).differences(entries)
    assert {others >= 3 for _, others in found} == {True, False}
    assert all((difference is None) == (others < 3) for difference, others in found)


def test_who_has_nothing_that_counts_meets_all_peers_alike(snapshot):
    (entry,) = (one for one in snapshot.histories(["user1"])["user1"] if one.review.asin == "item0")
    held_out = {("user1", one.review.asin) for one in snapshot.histories(["user1"])["user1"]}
    ((weighed, m),) = WeighedPeers(snapshot, held_out).differences([entry])
    ((plain, n),) = Peers(snapshot, held_out).differences([entry])
    assert m == n > 1
    np.testing.assert_allclose(weighed, plain, atol=1e-6)


def test_a_prompt_has_what_was_chosen(snapshot):
    def prompt(weighting):
        made = PromptBuilder(
            snapshot, methods.find("dep"), Template("full"), CHAT, count, choices=Choices(peer_weighting=weighting)
        )
        return made.build(Request("user0", TARGET))

    mean, distance = prompt("mean"), prompt("distance")
    assert mean.render() == distance.render()
    for kind, same in (("his", True), ("diff", False)):
        pairs = zip(
            *([part.embedding for part in one.parts if isinstance(part, Slot) and part.kind == kind] for one in (mean, distance)),
            strict=True,
        )
        assert [np.array_equal(a, b) for a, b in pairs].count(True) == (len(mean.shown) if same else 0)
    shown = [past.peers for past in distance.shown]
    assert shown == [past.peers for past in mean.shown]
