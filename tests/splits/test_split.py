from __future__ import annotations

import dataclasses

import pytest

from depcli.errors import BadInput, NotFound
from depcli.records import Item, Review
from depcli.splits.leakage import check_leakage
from depcli.splits.split import Target, choose, leave_last_out, make_split, pairs_of
from tests.evaluation.world import USERS, make_store, reviews


def by_hand(user: str) -> list[str]:
    """The user's items in reading order, the slow way."""
    own = [review for review in reviews() if review.user_id == user]
    return [r.asin for r in sorted(own, key=lambda r: (float("-inf") if r.timestamp is None else r.timestamp, r.asin))]


@pytest.mark.parametrize("per_user", [1, 2, 99])
def test_the_last_reviews_of_each_user_become_targets(snapshot, per_user):
    split = leave_last_out(snapshot, targets_per_user=per_user)
    for user in USERS:
        asins = by_hand(user)
        assert [t.asin for t in split.test if t.user_id == user] == asins[-1:]
        assert [t.asin for t in split.validation if t.user_id == user] == asins[-2:-1]
        # The first review has no history and is never learned, however many are asked for.
        assert [t.asin for t in split.train if t.user_id == user] == asins[max(1, len(asins) - 2 - per_user) : -2]
    assert {t.user_id for t in split.test} == set(USERS)
    assert split.held_out == {t.key for t in split.validation + split.test}
    check_leakage(split)


@pytest.mark.parametrize("last", [2, 3])
def test_more_than_the_last_review_of_each_user_may_be_tested(tmp_path, last):
    """Of users who have enough: as many to validate, one to learn and one before it."""
    days = {"many": 9, "enough": 2 * last + 2, "few": 2 * last + 1}
    written = [Review(user, f"film{i}", f"{user} {i}", 3.0, "", float(i)) for user, n in days.items() for i in range(n)]
    split = leave_last_out(make_store(tmp_path, written).snapshot(), last=last)
    assert {t.user_id for t in (*split.test, *split.validation, *split.train)} == {"many", "enough"}
    for user in ("many", "enough"):
        asins = [f"film{i}" for i in range(days[user])]
        assert [t.asin for t in split.test if t.user_id == user] == asins[-last:]
        assert [t.asin for t in split.validation if t.user_id == user] == asins[-2 * last : -last]
        assert [t.asin for t in split.train if t.user_id == user] == asins[1 : -2 * last]
    assert split.name == f"leave-last-out:{last}" and split.held_out == {t.key for t in split.validation + split.test}
    check_leakage(split)


def test_no_targets_per_user_is_refused(snapshot):
    with pytest.raises(BadInput):
        leave_last_out(snapshot, targets_per_user=0)


def test_digest_follows_the_targets_and_nothing_else(snapshot, tmp_path):
    split = leave_last_out(snapshot)
    shuffled = make_store(tmp_path / "a", reviews()[::-1]).snapshot()
    assert leave_last_out(shuffled).digest == split.digest
    assert leave_last_out(snapshot, targets_per_user=2).digest != split.digest
    more = make_store(tmp_path / "b", [*reviews(), Review("ann", "film5", "New.", 3.0, "", 999.0)]).snapshot()
    assert leave_last_out(more).digest != split.digest
    swapped = make_split(split.name, train=split.train, validation=split.test, test=split.validation)
    assert swapped.digest != split.digest


def test_pairs_hold_the_request_and_the_real_review(snapshot):
    real = {(review.user_id, review.asin): review for review in reviews()}
    split = leave_last_out(snapshot)
    targets = [*split.test[::-1], *split.train]
    pairs = list(pairs_of(targets, snapshot))
    assert len(pairs) == len(targets)
    for target, (request, text) in zip(targets, pairs, strict=True):
        review = real[target.key]
        assert (request.user_id, request.item.asin, text) == (target.user_id, target.asin, review.text)
        assert request.rating == review.rating
        assert request.title == (review.title or None)
        assert request.before == (review.timestamp, review.asin)
    assert {request.title for request, _ in pairs} == {None, "A title"}
    undescribed = [request.item for request, _ in pairs if request.item.asin == "film5"]
    assert undescribed and set(undescribed) == {Item("film5")}


def test_undated_target_stands_before_all_dated_reviews(snapshot):
    request, _ = next(pairs_of([Target("bob", by_hand("bob")[0], None)], snapshot))
    assert request.before == (float("-inf"), by_hand("bob")[0])


def test_target_that_left_the_store_is_not_found(snapshot):
    with pytest.raises(NotFound, match="film9"):
        list(pairs_of([Target("ann", "film9", 1.0)], snapshot))


def test_a_limit_takes_a_stable_subset(snapshot):
    split = leave_last_out(snapshot)
    assert sorted(t.key for t in choose(split, "test")) == sorted(t.key for t in split.test)
    assert choose(split, "test", 3) == choose(split, "test", 5)[:3]
    backwards = dataclasses.replace(split, test=split.test[::-1])
    assert choose(backwards, "test", 3) == choose(split, "test", 3)
    assert len({tuple(choose(split, "test", 2, seed=seed)) for seed in range(20)}) > 5
