"""Leaks that are planted, each found by the check that is there for it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from depcli.adapters import seen
from depcli.personal.difference import Peers
from depcli.records import Difference, Dimension, Item, PastReview, Profile, Prompt, Review
from depcli.splits import named
from depcli.splits.leakage import check_adapters, check_differences, check_leakage, check_shown
from depcli.splits.split import Target, by_user, leave_last_out, make_split, pairs_of
from tests.evaluation.world import make_writers


def test_a_split_that_leaks_is_refused(snapshot):
    split = leave_last_out(snapshot)
    both = make_split("x", train=[*split.train, split.test[0]], validation=split.validation, test=split.test)
    with pytest.raises(ValueError, match="more than once"):
        check_leakage(both)
    with pytest.raises(ValueError, match="not held out"):
        check_leakage(dataclasses.replace(split, held_out=split.held_out - {split.test[0].key}))
    check_leakage(split)
    with pytest.raises(ValueError, match="held out but were learned"):
        check_leakage(dataclasses.replace(split, held_out=split.held_out | {split.train[2].key}))


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (Review("ann", "film1", "t", timestamp=5.0), "the target itself"),
        (Review("bob", "film0", "t", timestamp=1.0), "another user"),
        (Review("ann", "film0", "t", timestamp=9.0), "not written before"),
        (Review("ann", "film2", "t", timestamp=5.0), "not written before"),  # a tie, decided by the item
    ],
)
def test_a_prompt_that_knows_too_much_is_refused(shown, words):
    prompt = Prompt((), (PastReview(shown, Item(shown.asin), None, None, 0),))
    with pytest.raises(ValueError, match=words):
        check_shown(Target("ann", "film1", 5.0), prompt)


def test_a_prompt_with_earlier_reviews_passes():
    past = [Review("ann", "film0", "t", timestamp=5.0), Review("ann", "film9", "t", timestamp=4.0), Review("ann", "film8", "t")]
    check_shown(Target("ann", "film1", 5.0), Prompt((), tuple(PastReview(r, Item(r.asin), None, None, 0) for r in past)))


@pytest.mark.parametrize(
    "profile",
    [Profile("p", (Difference("film1", "drier"),)), Profile("p", (), (Dimension("tone", "t", (Difference("film1", "drier"),)),))],
)
def test_a_profile_that_is_about_the_target_is_refused(profile):
    check_shown(Target("ann", "film2", 5.0), Prompt((), profile=profile))
    with pytest.raises(ValueError, match="the profile in the prompt"):
        check_shown(Target("ann", "film1", 5.0), Prompt((), profile=profile))


def test_learning_from_an_unseen_user_is_refused(snapshot):
    split = named.make(snapshot, "unseen-users")
    check_leakage(split)
    user = next(iter(split.unseen))
    first = min(by_user(snapshot)[user], key=lambda target: target.asin)
    planted = make_split(
        split.name,
        train=[*split.train, first],
        validation=split.validation,
        test=split.test,
        unseen=split.unseen,
        withheld=split.held_out - {first.key},
    )
    with pytest.raises(ValueError, match="shall be unseen|more than once"):
        check_leakage(planted)
    tested = split.test[0].user_id
    with pytest.raises(ValueError, match="'mine' was trained on users who shall be unseen"):
        check_adapters(
            split,
            {"other": {seen.KEY: seen.record([])}, "mine": {seen.KEY: seen.record([*(t.user_id for t in split.train), tested])}},
        )
    check_adapters(split, {"mine": {seen.KEY: seen.record(t.user_id for t in split.train)}})
    check_adapters(leave_last_out(snapshot), {"mine": {seen.KEY: seen.record([tested])}})


def test_learning_from_after_the_moment_is_refused(snapshot):
    split = leave_last_out(snapshot)
    times = [target.timestamp for target in split.train]
    assert None not in times
    check_leakage(dataclasses.replace(split, since=max(times) + 1))
    with pytest.raises(ValueError, match="from before the test"):
        check_leakage(dataclasses.replace(split, since=max(times)))
    undated = dataclasses.replace(split, train=(Target("zoe", "film1", None),), since=max(times) + 1)
    with pytest.raises(ValueError, match="from before the test"):
        check_leakage(undated)


def prompts(snapshot, split, builder) -> list[Prompt]:
    return list(builder.build_all(request for request, _ in pairs_of(split.test, snapshot)))


def test_a_sum_that_holds_what_is_held_out_is_refused(snapshot, engine):
    """The same prompts made by a builder that was never told what is held out."""
    split = leave_last_out(snapshot)
    clean = make_writers(snapshot, engine, split, names=("dep",))["dep"].builder
    check_differences(prompts(snapshot, split, clean), snapshot, split.held_out)
    told_nothing = make_writers(snapshot, engine, SimpleNamespace(held_out=()), names=("dep",))["dep"].builder
    with pytest.raises(ValueError, match="peers of .* count for .* may"):
        check_differences(prompts(snapshot, split, told_nothing), snapshot, split.held_out)


def test_a_target_inside_a_sum_whose_count_is_right_is_refused(snapshot, engine, monkeypatch):
    split = leave_last_out(snapshot)
    builder = make_writers(snapshot, engine, split, names=("dep",))["dep"].builder
    honest = Peers.difference

    def leaking(self, entry, sums):
        found, peers = honest(self, entry, sums)
        return (None if found is None else found + np.float32(0.01)), peers

    monkeypatch.setattr(Peers, "difference", leaking)
    leaked = prompts(snapshot, split, builder)
    with pytest.raises(ValueError, match="is not that from reviews that may count"):
        check_differences(leaked, snapshot, split.held_out)
    check_differences(leaked, snapshot, split.held_out, weighted=True)
