"""Differences and prompts as of a moment, against eq. 4 over the reviews up to then and against a store that never knew more."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from depcli import methods
from depcli.actions.forgetting import plan
from depcli.actions.writing import find_request
from depcli.errors import NotFound
from depcli.personal.difference import Peers
from depcli.personal.history import moment_text
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import Item, Request, Review, Slot, stable_order
from tests.personal.conftest import made_store
from tests.personal.test_difference import brute_force, check_all
from tests.personal.test_prompts import CHAT, count
from tests.store.made import vector_of

ITEMS = [Item(f"item{i}", f"Item {i}", f"What item {i} is") for i in range(7)]
MOMENTS = (100.0, 101.5, 102.0, 500.0)


@pytest.fixture(scope="module")
def reviews() -> list[Review]:
    """Six users; item i has the reviewers u with (u + i) % 3 != 0, who come one after another; user5's reviews have no time."""
    return [
        Review(
            f"user{u}",
            f"item{i}",
            f"user {u} on item {i}",
            float(1 + (u + i) % 5),
            f"title {i}",
            None if u == 5 else 100.0 + (i + u) // 3,
        )
        for u in range(6)
        for i in range(8)
        if (u + i) % 3
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory, reviews):
    return made_store(tmp_path_factory.mktemp("all"), reviews, ITEMS)


def earlier(reviews, moment: float) -> list[Review]:
    return [review for review in reviews if review.timestamp is not None and review.timestamp <= moment]


@pytest.mark.parametrize("moment", MOMENTS)
def test_differences_equal_eq_4_over_the_reviews_up_to_then(store, reviews, moment):
    check_all(store.snapshot(as_of=moment), earlier(reviews, moment))


@pytest.mark.parametrize("moment", MOMENTS)
def test_held_out_reviews_count_for_nobody_whether_the_moment_knows_them_or_not(store, reviews, moment):
    held_out = frozenset((review.user_id, review.asin) for review in reviews[::4])
    assert any(key in held_out for key in ((r.user_id, r.asin) for r in earlier(reviews, 101.0)))
    check_all(store.snapshot(as_of=moment), earlier(reviews, moment), held_out)


def test_reviews_without_a_time_count_neither_as_history_nor_as_peers(store, reviews):
    past = store.snapshot(as_of=1e9)
    assert not past.has_user("user5") and store.snapshot().has_user("user5")
    (entry,) = (e for e in past.histories(["user0"])["user0"] if e.review.asin == "item2")
    difference, peers = Peers(past).difference(entry, Peers(past).sums(["item2"]))
    dated = [review for review in reviews if review.timestamp is not None]
    assert peers == brute_force(entry.review, dated)[1] == brute_force(entry.review, reviews)[1] - 1
    np.testing.assert_allclose(difference, brute_force(entry.review, dated)[0], atol=1e-6)


@pytest.mark.parametrize(("least", "moment"), [(3, None), (2, 102.0)])
def test_a_difference_from_too_few_peers_is_none(store, reviews, least, moment):
    snapshot = store.snapshot(as_of=moment)
    known = reviews if moment is None else earlier(reviews, moment)
    held_out = frozenset({("user1", "item0"), ("user4", "item3")})
    peers, seen = Peers(snapshot, held_out, min_peers=least), set()
    for history in snapshot.histories(snapshot.user_ids()).values():
        sums = peers.sums(entry.review.asin for entry in history)
        for entry in history:
            expected, m = brute_force(entry.review, [r for r in known if (r.user_id, r.asin) not in held_out])
            difference, found = peers.difference(entry, sums)
            assert found == m and (difference is None) == (m < least)
            if difference is not None:
                np.testing.assert_allclose(difference, expected, atol=1e-6)
            seen.add(m < least)
    assert seen == {True, False}


def prompts_of(snapshot, requests: list[Request], **options):
    return list(PromptBuilder(snapshot, methods.find("dep"), Template("full"), CHAT, count, **options).build_all(requests))


def slots_of(prompt) -> list[Slot]:
    return [part for part in prompt.parts if isinstance(part, Slot)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_prompt_of_the_past_is_that_of_a_store_that_never_knew_more(store, reviews, moment, tmp_path):
    known = earlier(reviews, moment)
    past, only = store.snapshot(as_of=moment), made_store(tmp_path, known, ITEMS).snapshot()
    users = sorted({review.user_id for review in known})
    assert users == past.user_ids()
    requests = [find_request(past, user, "item1", rating=4.0) for user in users]
    requests += [Request(r.user_id, Item(r.asin), before=stable_order(r)) for r in known]
    for least in (1, 2):
        pairs = (prompts_of(snapshot, requests, min_peers=least, k=3) for snapshot in (past, only))
        for here, there in zip(*pairs, strict=True):
            assert here.render() == there.render()
            assert [past.review for past in here.shown] == [past.review for past in there.shown]
            for slot, other in zip(slots_of(here), slots_of(there), strict=True):
                assert (slot.kind, slot.embedding is None) == (other.kind, other.embedding is None)
                if slot.kind == "his":
                    assert slot.embedding.tobytes() == other.embedding.tobytes()
                elif slot.kind == "diff":  # sums of the same vectors in another order
                    np.testing.assert_allclose(slot.embedding, other.embedding, atol=1e-7)


def test_nothing_later_than_the_moment_stands_in_a_prompt(store, reviews):
    request = Request("user0", Item("item9", "Item 9"))
    now, then = (prompts_of(store.snapshot(as_of=moment), [request])[0].render() for moment in (None, 101.0))
    mine = [review for review in reviews if review.user_id == "user0"]
    assert all(review.text in now for review in mine)
    assert {review.text in then for review in mine} == {True, False}
    assert [review for review in mine if review.text in then] == earlier(mine, 101.0)


def test_min_peers_leaves_out_difference_tokens_and_nothing_else(store, reviews):
    request = Request("user0", Item("item9", "Item 9"))
    loose, strict = (prompts_of(store.snapshot(), [request], min_peers=least)[0] for least in (1, 4))
    assert [past.review for past in loose.shown] == [past.review for past in strict.shown]
    assert [past.peers for past in loose.shown] == [past.peers for past in strict.shown] == [3, 3, 3, 3, 3]
    assert loose.render().replace("«diff_start»«diff»«diff_end»", "") == strict.render() != loose.render()


def test_who_had_not_written_yet_is_not_found(store):
    past = store.snapshot(as_of=100.0)
    assert past.user_ids() == ["user0", "user1", "user2"]
    for ask in (lambda: find_request(past, "user4", "item1"), lambda: prompts_of(past, [Request("user4", ITEMS[1])])):
        with pytest.raises(NotFound, match="no user 'user4' in the store as of 1970-01-01 00:01:40 UTC") as error:
            ask()
        assert "3 users" in error.value.hint and "without a time" in error.value.hint


def test_moments_are_told_in_utc():
    assert moment_text(1243728000.0) == "2009-05-31 00:00:00 UTC"
    assert moment_text(-1.0) == "1969-12-31 23:59:59 UTC"


def test_real_reviews_of_fifty_users(real):
    reviews, store = real
    moment = float(np.median([review.timestamp for review in reviews]))
    past = store.snapshot(as_of=moment)
    known: dict[str, list[Review]] = defaultdict(list)
    for review in earlier(reviews, moment):
        known[review.asin].append(review)
    users = past.user_ids()[:: len(past.user_ids()) // 50][:50]
    peers, checked, alone = Peers(past, min_peers=3), 0, 0
    for user, history in past.histories(users).items():
        assert len(history) == sum(review.user_id == user for there in known.values() for review in there)
        sums = peers.sums(entry.review.asin for entry in history)
        for entry in history:
            difference, found = peers.difference(entry, sums)
            others = [vector_of(r.text).astype(np.float64) for r in known[entry.review.asin] if r.user_id != user]
            assert found == len(others) and (difference is None) == (found < 3)
            if difference is None:
                alone += 1
            else:
                np.testing.assert_allclose(difference, entry.vector - sum(others) / found, atol=1e-6)
            checked += 1
    assert len(users) == 50 and checked > 500 and 0 < alone < checked


def test_a_name_that_looks_the_same_is_said_by_its_characters(tmp_path):
    composed, apart = "Jos\u00e9", "Jose\u0301"
    store = made_store(tmp_path, [Review(composed, "a", "A text.", timestamp=1.0)], [])
    for asked in (apart, "jos\u00e9"):
        with pytest.raises(NotFound) as error:
            find_request(store.snapshot(), asked, "b", item_title="B")
        assert "it knows 'Jos\\xe9'" in error.value.hint
    with pytest.raises(NotFound, match="no user") as error:
        plan(store.path, [apart], [])
    assert "nothing was removed; it has 'Jos\\xe9'" in error.value.hint
