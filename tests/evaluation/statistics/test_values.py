"""Values of which some are missing, as verdicts of a judge may be: means, errors, differences recomputed verdict by verdict."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.evaluation.measures.metrics import Score
from depcli.evaluation.scoring import values_of
from depcli.evaluation.statistics.comparing import compare
from depcli.evaluation.statistics.groups import compare_groups
from depcli.evaluation.statistics.values import Values
from depcli.evaluation.summary import metric_summary, others_summary

SEEDS, TARGETS = 3, 40
USERS = [f"user{n // 2}" for n in range(TARGETS)]


def verdicts(missing: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.integers(11, size=(SEEDS, TARGETS)).astype(float)
    found[rng.random((SEEDS, TARGETS)) < missing] = np.nan
    return found


def test_a_difference_is_of_the_pairs_that_are_there():
    ours, theirs = verdicts(0.3, 1), verdicts(0.3, 2)
    ours[:, 7] = np.nan
    found = [ours[s, n] - theirs[s, n] for s in range(SEEDS) for n in range(TARGETS)]
    found = [difference for difference in found if np.isfinite(difference)]
    there = {n for s in range(SEEDS) for n in range(TARGETS) if np.isfinite(ours[s, n] - theirs[s, n])}
    (difference,) = compare({"a": {"judge": Values(theirs)}, "b": {"judge": Values(ours)}}, USERS, [("a", "b")])
    assert difference["difference"] == pytest.approx(sum(found) / len(found))
    assert TARGETS - 10 < difference["requests"] == len(there) < TARGETS, "a target is there with any seed at which both are"


def test_the_standard_error_is_that_of_the_mean_beside_it():
    """The jackknife over users of the mean of all verdicts, which for so many is near the formula."""
    each = verdicts(0.3, 3)
    each[2, 5:] = np.nan
    found = metric_summary([Score(float(np.nanmean(run)), "s") for run in each], Values(each), USERS)
    assert found["value"] == pytest.approx(np.nanmean(each)) and found["undefined"] == int(np.isnan(each).all(0).sum())
    without = [np.nanmean(each[:, [user != gone for user in USERS]]) for gone in dict.fromkeys(USERS)]
    n = len(without)
    jackknife = np.sqrt((n - 1) / n * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert found["se_users"] == pytest.approx(jackknife, rel=0.05)
    assert Values(each).value() == pytest.approx(np.nanmean(each))


def test_values_that_are_all_there_are_averaged_over_the_seeds():
    each = verdicts(0, 4)
    np.testing.assert_array_equal(Values(each).each, each.mean(axis=0))
    np.testing.assert_array_equal(Values(each).at([3, 1]).each, each.mean(axis=0)[[3, 1]])
    assert Values(np.full((2, 3), np.nan)).value() is None


def test_halves_of_the_users_are_compared_on_their_pairs():
    ours, theirs = verdicts(0.4, 5), verdicts(0.4, 6)
    first = set(USERS[: TARGETS // 2])
    systems = {"a": {"judge": Values(theirs)}, "b": {"judge": Values(ours)}}
    found = compare_groups(systems, USERS, [("a", "b")], {"unique": first, "others": set(USERS) - first})
    differences = ours - theirs
    halves = [np.nanmean(differences[:, : TARGETS // 2]), np.nanmean(differences[:, TARGETS // 2 :])]
    for part, half, places in zip(found["parts"], halves, (slice(None, TARGETS // 2), slice(TARGETS // 2, None)), strict=True):
        assert part["differences"][0]["difference"] == pytest.approx(half)
        assert part["methods"]["b"]["judge"]["value"] == pytest.approx(np.nanmean(ours[:, places]))
    assert found["between"][0]["difference"] == pytest.approx(halves[0] - halves[1])
    assert 0.001 < found["between"][0]["p"] <= 1


def test_lines_with_a_verdict_at_some_seeds_alone_are_not_lost():
    rows = [[{"id": "x", "nats": None, "tokens": None, "judge": verdict}] for verdict in (4, None, 8)]
    assert values_of(rows)["judge"].value() == 6


def test_how_far_texts_are_from_what_others_wrote_where_both_have_a_verdict():
    own = Values(np.array([[5, np.nan, 3, 4], [7, 2, np.nan, 6]]))
    others = Values(np.array([1, 2, np.nan, np.nan]))
    found = others_summary(others, {"rag": own}, ["a", "b", "c", "c"])
    assert (found["value"], found["targets"]) == (1.5, 2)
    # Pairs: 5 and 7 beside 1, of the second 2 beside 2 at one seed of two, which counts half.
    assert found["more"]["rag"]["difference"] == pytest.approx((5.0 * 1 + 0.0 * 0.5) / 1.5)
    assert (found["more"]["rag"]["requests"], found["more"]["rag"]["groups"]) == (2, 2)
    assert others_summary(Values(np.full(4, np.nan)), {"rag": own}, ["a"] * 4) is None
    together = others_summary(others, {"rag": own}, ["a", "a", "c", "c"])["more"]["rag"]
    assert together["groups"] == 1 and together["difference"] == found["more"]["rag"]["difference"]
