"""Intervals and tests of metrics of sums: a weighted mean is one, of which significance.py says the same in its own way."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product

import numpy as np
import pytest

from depcli.evaluation.measures.bleu import counts, values
from depcli.evaluation.statistics.comparing import compare
from depcli.evaluation.statistics.corpus import Counts, corpus_bootstrap, corpus_error, corpus_flips
from depcli.evaluation.statistics.significance import paired_bootstrap, sign_flips, standard_error, sums_by
from depcli.evaluation.statistics.values import Values

USERS = [f"user{i % 23}" for i in range(60)]
SCENES = "the film is slow and sad and the songs are warm but the end is far too long for me".split()
REAL = [" ".join(SCENES[: 8 + i % 9]) for i in range(60)]


def mean_of(each: np.ndarray, weights: np.ndarray) -> Counts:
    """A weighted mean as a metric of sums, of one seed."""
    return Counts(np.stack([each * weights, weights], axis=-1)[None], lambda sums: sums[..., 0] / sums[..., 1])


def texts(keep: float, seed: int) -> list[str]:
    """Sixty texts that keep so much of what the real ones say."""
    rng = np.random.default_rng(seed)
    return [" ".join(word if rng.random() < keep else "zebra" for word in text.split()) for text in REAL]


def bleu_of(*written: list[str]) -> Counts:
    return Counts(np.array([counts(one, REAL) for one in written], float), values)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(4)
    return rng.normal(size=60) + 0.2, rng.normal(size=60), rng.integers(1, 9, 60).astype(float)


def test_of_a_mean_interval_and_error_are_those_of_means(drawn):
    a, b, weights = drawn
    found = corpus_bootstrap(mean_of(a, weights), mean_of(b, weights), USERS, seed=3)
    expected = paired_bootstrap(a, b, weights, USERS, seed=3)
    assert asdict(found) == pytest.approx(asdict(expected), abs=1e-12)
    one_each = range(60)
    assert corpus_error(mean_of(a, np.ones(60)), one_each) == pytest.approx(standard_error(a, groups=one_each))


@pytest.mark.parametrize("people", [5, 23])
def test_of_a_mean_the_test_is_that_of_means(drawn, people):
    a, b, _ = drawn
    users, equal = [f"user{i % people}" for i in range(60)], np.ones(60)
    expected = sign_flips(sums_by(users, a - b)[:, None])[0]
    assert corpus_flips(mean_of(a, equal), mean_of(b, equal), users) == pytest.approx(expected)
    assert 0 < expected < 1


def test_bleu_recomputed_by_swapping_texts_and_drawing_users():
    users, two = [f"user{i % 4}" for i in range(60)], [texts(0.9, 1), texts(0.8, 2)]

    def of(chosen: list[int], places) -> float:
        """BLEU of the texts at `places`, each of the method that its user has in `chosen`."""
        rows = [counts([two[chosen[i % 4]][i]], [REAL[i]])[0] for i in places]
        return float(values(np.sum(rows, axis=0)))

    seen = of([0] * 4, range(60)) - of([1] * 4, range(60))
    swapped = [of(list(kept), range(60)) - of([1 - one for one in kept], range(60)) for kept in product((0, 1), repeat=4)]
    a, b = (bleu_of(one) for one in two)
    assert corpus_flips(a, b, users) == np.mean(np.abs(swapped) >= abs(seen) - 1e-9)
    draws = np.random.default_rng(0).integers(4, size=(50, 4))
    places = [[i for user in drawn for i in range(60) if i % 4 == user] for drawn in draws]
    low, high = np.quantile([of([0] * 4, chosen) - of([1] * 4, chosen) for chosen in places], [0.025, 0.975])
    found = corpus_bootstrap(a, b, users, resamples=50)
    assert (found.difference, found.low, found.high) == pytest.approx((seen, low, high))
    assert (found.requests, found.groups, found.resamples) == (60, 4, 50)


def test_the_value_is_the_mean_over_the_seeds():
    both, each = bleu_of(texts(0.9, 1), texts(0.9, 2)), [bleu_of(texts(0.9, seed)) for seed in (1, 2)]
    assert both.value() == pytest.approx((each[0].value() + each[1].value()) / 2)
    assert corpus_error(both, USERS) < max(corpus_error(one, USERS) for one in each)


def test_methods_are_compared_in_both_kinds_of_metrics_and_corrected_together():
    good, same, bad = (bleu_of(texts(keep, seed)) for keep, seed in ((0.9, 1), (0.9, 1), (0.6, 2)))
    noise = Values(np.random.default_rng(5).normal(size=60))
    systems = {name: {"rouge1": noise, "bleu": one} for name, one in (("good", good), ("same", same), ("bad", bad))}
    compared = compare(systems, USERS, [("good", "same"), ("good", "bad"), ("bad", "same")])
    found = {(one["metric"], one["method"], one["against"]): one for one in compared}
    assert len(found) == 6
    nothing, less, more = (found["bleu", *pair] for pair in (("same", "good"), ("bad", "good"), ("same", "bad")))
    assert (nothing["difference"], nothing["p"], nothing["better"]) == (0, 1, None)
    assert less["difference"] == pytest.approx(-more["difference"]) and less["high"] < 0 < more["low"]
    assert less["p"] == more["p"] == 1 / 20_001 and less["p_holm"] == pytest.approx(6 / 20_001)
    assert (less["better"], more["better"]) == ("good", "same")


def test_one_user_has_no_interval():
    found = corpus_bootstrap(bleu_of(texts(0.9, 1)), bleu_of(texts(0.5, 1)), ["only"] * 60)
    assert (found.low, found.high, found.clear) == (None, None, False) and corpus_error(bleu_of(REAL), ["only"] * 60) is None
