from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from depcli.evaluation.statistics.comparing import compare, description
from depcli.evaluation.statistics.significance import holm, paired_bootstrap, sign_flips
from depcli.evaluation.statistics.values import Values


def made(users: int, seed: int = 0, **shifts: float) -> dict[str, dict[str, Values]]:
    """Methods that differ by their shift from a common value of each target, and by noise."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=users)
    return {name: {"meteor": Values(hard + shift + 0.1 * rng.normal(size=users))} for name, shift in shifts.items()}


def names(users: int) -> list[str]:
    return [f"user {i}" for i in range(users)]


def test_every_number_is_the_one_of_its_own_test():
    users = ["a", "a", "b", "c", "c", "d"]
    rng = np.random.default_rng(1)
    tokens = rng.integers(3, 20, size=6)
    systems = {
        name: {"nll": Values(rng.normal(size=6), tokens), "meteor": Values(rng.normal(size=6))} for name in ("x", "y", "z")
    }
    systems["y"]["meteor"].each[2] = np.nan  # all there is of user b
    found = compare(systems, users, list(combinations(systems, 2)))
    assert [(one["metric"], one["method"], one["against"]) for one in found] == [
        (metric, *pair) for metric in ("nll", "meteor") for pair in (("y", "x"), ("z", "x"), ("z", "y"))
    ]
    for one in found:
        a, b = systems[one["method"]][one["metric"]], systems[one["against"]][one["metric"]]
        there = [i for i in range(6) if np.isfinite(a.each[i]) and np.isfinite(b.each[i])]
        weights = tokens[there] if one["metric"] == "nll" else np.ones(len(there))
        interval = paired_bootstrap(a.each[there], b.each[there], weights, [users[i] for i in there])
        assert (one["difference"], one["low"], one["high"]) == (interval.difference, interval.low, interval.high)
        assert (one["requests"], one["groups"]) == (len(there), len({users[i] for i in there}))
        sums = [
            [sum(w * (a.each[i] - b.each[i]) for i, w in zip(there, weights, strict=True) if users[i] == user)]
            for user in dict.fromkeys(users[i] for i in there)
        ]
        assert one["p"] == sign_flips(sums)[0], "a user without a value has no part in it"
    assert [one["p_holm"] for one in found] == holm([one["p"] for one in found]).tolist()
    assert description(found)["corrected_for"] == 6


def test_likelihoods_of_other_tokens_are_not_compared():
    systems = {"a": {"nll": Values(np.ones(3), np.array([1, 2, 3]))}, "b": {"nll": Values(np.ones(3), np.array([1, 2, 4]))}}
    with pytest.raises(ValueError, match="different tokens"):
        compare(systems, names(3), [("a", "b")])


def test_what_is_better_depends_on_the_metric():
    systems = made(60, dep=0.2, rag=0.0)
    for metrics in systems.values():
        metrics["nll"] = metrics["meteor"]
    found = {one["metric"]: one["better"] for one in compare(systems, names(60), [("rag", "dep")])}
    assert found == {"meteor": "dep", "nll": "rag"}


def test_metrics_without_values_in_common_are_left_out():
    systems = {"a": {"x": Values(np.array([1.0, np.nan])), "y": Values(np.zeros(2))}, "b": {"x": Values(np.array([np.nan, 1.0]))}}
    assert compare(systems, ["u", "v"], [("a", "b")]) == []


def test_copies_are_called_different_anywhere_at_most_as_often_as_promised():
    """Four copies of one method, six pairs, two metrics: twelve chances to err in each of 200 evaluations."""
    trials, users = 200, 20
    rng = np.random.default_rng(9)
    wrong = uncorrected = 0
    for _ in range(trials):
        hard = rng.gamma(2.0, size=users)
        systems = {
            name: {metric: Values(hard * rng.gamma(4.0, size=users)) for metric in ("meteor", "rouge1")} for name in "abcd"
        }
        sums = [
            systems[a][metric].each - systems[b][metric].each
            for metric in ("meteor", "rouge1")
            for a, b in combinations("abcd", 2)
        ]
        p = sign_flips(np.stack(sums, axis=1), flips=2000)
        wrong += bool((holm(p) <= 0.05).any())
        uncorrected += bool((p <= 0.05).any())
    assert wrong <= trials * 0.05 + 4 * (trials * 0.05 * 0.95) ** 0.5 < uncorrected


def test_what_batches_change_of_a_likelihood_is_no_difference():
    x = np.random.default_rng(4).gamma(4.0, size=50)
    systems = {"a": {"nll": Values(x)}, "b": {"nll": Values(x * (1 + 1e-8))}, "c": {"nll": Values(x * (1 + 1e-5))}}
    found = compare(systems, names(50), [("a", "b"), ("a", "c")])
    assert [(one["difference"] > 0, one["clear"], one["better"]) for one in found] == [(False, False, None), (True, True, "a")]
    assert found[1]["difference"] == pytest.approx(1e-5 * x.mean()), "a small gain for everyone is told as it is"


def test_a_method_that_is_better_is_found_and_its_copy_is_not():
    found = compare(made(80, 3, a=0.0, copy=0.0, best=0.2), names(80), [("a", "copy"), ("a", "best"), ("copy", "best")])
    assert [one["better"] for one in found] == [None, "best", "best"]
