from __future__ import annotations

import numpy as np
import pytest

from depcli.engines.sampling import Sampler, nucleus
from depcli.errors import DepError
from depcli.records import Sampling


def slow_nucleus(logits, temperature, top_p):
    weights = [float(np.exp((float(x) - float(max(logits))) / temperature)) for x in logits]
    ranked = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    kept, mass = [], 0.0
    for i in ranked:
        kept.append(i)
        mass += weights[i] / sum(weights)
        if mass >= top_p:
            break
    return kept


@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.95])
def test_nucleus_equals_the_definition(spread, top_p):
    # 700 tokens: more than the first guess of candidates, so flat distributions take the long way.
    logits = (np.random.default_rng(1).standard_normal(700) * spread).astype(np.float32)
    ids, mass = nucleus(logits, 0.8, top_p)
    assert ids.tolist() == slow_nucleus(logits, 0.8, top_p)
    assert mass[-1] >= top_p and (len(mass) == 1 or mass[-2] < top_p)


def test_of_equals_those_with_lower_ids_are_kept():
    ids, _ = nucleus(np.zeros(1000, np.float32), 1.0, 0.3)
    assert ids.tolist() == list(range(300))
    steps = np.repeat(np.float32([0, 3, 1]), 400)  # the edge of the nucleus lies among equals
    assert nucleus(steps, 1.0, 0.9)[0].tolist() == slow_nucleus(steps, 1.0, 0.9)


@pytest.mark.parametrize("steps", [None, 0.125, 2.0])  # rounded so that many are equal
def test_order_and_cumulated_mass_are_those_of_sorting_everything(steps):
    random = np.random.default_rng(3)
    for spread, temperature, top_p in [(0.3, 0.8, 0.95), (2.0, 1.3, 0.9), (6.0, 0.8, 0.99), (3.0, 0.2, 0.5), (2.0, 1.0, 1.0)]:
        logits = (random.standard_normal(5000) * spread).astype(np.float32)
        logits = logits if steps is None else np.round(logits / steps).astype(np.float32) * np.float32(steps)
        behind = (logits.astype(np.float64) - float(logits.max())) / temperature
        probabilities = np.exp(behind) / np.exp(behind).sum()
        order = np.lexsort((np.arange(5000), -probabilities))
        mass = np.cumsum(probabilities[order])
        count = min(int(np.searchsorted(mass, top_p)) + 1, 5000)
        ids, cumulated = nucleus(logits, temperature, top_p)
        assert ids.tolist() == order[:count].tolist()
        np.testing.assert_allclose(cumulated, mass[:count], rtol=3e-7, atol=0)


def test_top_p_one_keeps_everything_allowed():
    logits = np.array([0.0, -np.inf, 1.0], np.float32)
    ids, mass = nucleus(logits, 1.0, 1.0)
    assert ids[:2].tolist() == [2, 0] and mass[-1] == pytest.approx(1.0)
    assert 1 not in {Sampler(Sampling(temperature=1.0, top_p=1.0, seed=s)).pick(logits) for s in range(200)}


def test_draws_follow_the_distribution():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampler = Sampler(Sampling(temperature=1.0, top_p=0.9, seed=5))
    counts = np.bincount([sampler.pick(logits) for _ in range(20_000)], minlength=4) / 20_000
    expected = np.array([0.5, 0.3, 0.15, 0.0]) / 0.95
    assert np.abs(counts - expected).max() < 0.015  # more than four standard errors
    assert counts[3] == 0


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-300, 1e-30])
def test_hardly_any_temperature_is_greedy_and_draws_among_equals(temperature):
    logits = np.array([1.0, -np.inf, 3.5, 3.0, -3e38], np.float32)
    sampler = Sampler(Sampling(temperature=temperature, top_p=1.0))
    assert {sampler.pick(logits) for _ in range(50)} == {Sampler(Sampling(temperature=0)).pick(logits)} == {2}
    assert {sampler.pick(np.array([2.0, 0.0, 2.0], np.float32)) for _ in range(50)} == {0, 2}


@pytest.mark.parametrize("temperature", [1e20, 1e39, 1e300])
def test_any_temperature_draws_what_is_allowed_alone(temperature):
    ids, mass = nucleus(np.array([1.0, -np.inf, 3.5, 3.0], np.float32), temperature, 1.0)
    assert ids.tolist() == [0, 2, 3] and mass == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_greedy_takes_the_first_of_equals():
    assert Sampler(Sampling(temperature=0)).pick(np.array([1, 3, 3, -np.inf], np.float32)) == 1


def test_not_a_number_is_an_error():
    for logits in ([np.nan, 1.0], [-np.inf, -np.inf]):
        with pytest.raises(DepError, match="not a number"):
            Sampler(Sampling(temperature=0)).pick(np.array(logits, np.float32))
