"""Two groups of users against the same numbers told by hand, and no difference where none was planted."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.evaluation.statistics.groups import compare_groups
from depcli.evaluation.statistics.values import Values

USERS = [f"u{i // 2}" for i in range(80)]  # two targets each
FIRST = {f"u{i}" for i in range(20)}
GROUPS = {"unique": FIRST, "others": {f"u{i}" for i in range(20, 40)}}
PAIRS = [("a", "b")]


def systems(gain_first: float, gain_others: float, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=80)
    gain = np.array([gain_first if user in FIRST else gain_others for user in USERS])
    weights = rng.integers(1, 9, 80).astype(float)
    nll = Values(rng.normal(size=80), weights)
    return {
        "a": {"meteor": Values(a), "nll": nll},
        "b": {"meteor": Values(a + gain + 0.1 * rng.normal(size=80)), "nll": Values(nll.each, weights)},
    }


def test_means_are_those_of_the_group():
    found = systems(0.3, 0.0)
    first, others = compare_groups(found, USERS, PAIRS, GROUPS)["parts"]
    assert (first["targets"], first["users"], others["targets"], others["users"]) == (40, 20, 40, 20)
    each, weights = found["b"]["nll"].each, found["b"]["nll"].weights
    assert first["methods"]["b"]["meteor"]["value"] == pytest.approx(found["b"]["meteor"].each[:40].mean())
    assert others["methods"]["b"]["nll"]["value"] == pytest.approx((each[40:] * weights[40:]).sum() / weights[40:].sum())
    (tested,) = (one for one in first["differences"] if one["metric"] == "meteor")
    assert tested["groups"] == 20 and tested["better"] == "b"


def test_a_planted_difference_of_gains_is_found_with_its_size():
    (found,) = (one for one in compare_groups(systems(0.3, 0.0), USERS, PAIRS, GROUPS)["between"] if one["metric"] == "meteor")
    values = systems(0.3, 0.0)
    gains = (values["b"]["meteor"].each - values["a"]["meteor"].each).reshape(40, 2).mean(axis=1)
    assert found["difference"] == pytest.approx(gains[:20].mean() - gains[20:].mean())
    assert found["significant"] and found["p"] < 0.001


def test_equal_gains_differ_no_more_often_than_they_may():
    found = [
        one["p"] <= 0.05
        for seed in range(60)
        for one in compare_groups(systems(0.2, 0.2, seed), USERS, PAIRS, GROUPS)["between"]
        if one["metric"] == "meteor"
    ]
    assert len(found) == 60 and sum(found) <= 8  # 3 are expected, more than 8 in one of 300 worlds
    (same,) = (one for one in compare_groups(systems(0, 0), USERS, PAIRS, GROUPS)["between"] if one["metric"] == "nll")
    assert same["difference"] == 0 and same["p"] == 1


def test_values_that_are_undefined_are_left_out():
    values = systems(0.3, 0.0)
    holes = values["b"]["meteor"].each.copy()
    holes[[0, 1, 50]] = np.nan  # all of the first user, one of two of another
    values["b"]["meteor"] = Values(holes)
    found = compare_groups(values, USERS, PAIRS, GROUPS)
    gains = holes - values["a"]["meteor"].each
    (one,) = (one for one in found["between"] if one["metric"] == "meteor")
    assert one["difference"] == pytest.approx(np.nanmean(gains[:40]) - np.nanmean(gains[40:]))
    assert found["parts"][0]["methods"]["b"]["meteor"]["value"] == pytest.approx(np.nanmean(holes[:40]))


def test_gains_between_groups_are_those_of_the_means_in_them():
    values = systems(0.3, 0.0)
    nll = values["b"]["nll"]
    values["b"]["nll"] = Values(nll.each + np.random.default_rng(1).normal(size=80), nll.weights)
    found = compare_groups(values, USERS, PAIRS, GROUPS)
    first, others = ({m: part["methods"][m]["nll"]["value"] for m in "ab"} for part in found["parts"])
    (one,) = (one for one in found["between"] if one["metric"] == "nll")
    assert one["difference"] == pytest.approx(first["b"] - first["a"] - (others["b"] - others["a"]))


def test_one_empty_group_has_nothing_to_compare():
    found = compare_groups(systems(0.3, 0.0), USERS, PAIRS, {"unique": set(USERS), "others": set()})
    assert found["between"] == [] and found["parts"][1]["differences"] == [] and found["parts"][1]["users"] == 0
