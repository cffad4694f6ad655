"""The PPlug vector against a slow, obvious computation of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depcli import methods
from depcli.adapters.pplug import PPlugAdapter, PPlugShape
from depcli.adapters.project import project
from depcli.records import Prompt, Slot, Text

D, H, NORM = 12, 10, 2.5


def units(seed: int, count: int) -> list[np.ndarray]:
    vectors = np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)
    return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture
def adapter():
    torch.manual_seed(0)
    return PPlugAdapter(PPlugShape(D, H, NORM))


def person(seed: int, count: int) -> Slot:
    (query,) = units(1000 + seed, 1)
    return Slot("person", query, tuple(units(seed, count)))


def mlp(weights: dict, name: str, vector: list[float]) -> list[float]:
    """Coordinate by coordinate, in Python's floats."""

    def layer(number: int, values: list[float]) -> list[float]:
        matrix, bias = weights[f"{name}.{number}.weight"].tolist(), weights[f"{name}.{number}.bias"].tolist()
        return [sum(w * v for w, v in zip(row, values, strict=True)) + b for row, b in zip(matrix, bias, strict=True)]

    hidden = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in layer(0, [v * math.sqrt(D) for v in vector])]
    return layer(2, hidden)


def scaled(values: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in values))
    return [value * NORM / length for value in values]


@pytest.mark.parametrize("count", [1, 2, 7, 512])
def test_the_person_is_the_weighted_sum_of_what_each_review_becomes(adapter, count):
    with torch.no_grad():  # biases start at zero, which would hide mistakes
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    slot, weights = person(1, count), adapter.state_dict()
    shares = [math.exp(sum(float(a) * float(b) for a, b in zip(vector, slot.embedding, strict=True))) for vector in slot.history]
    total = [0.0] * H
    for share, vector in zip(shares, slot.history, strict=True):
        for i, value in enumerate(mlp(weights, "history", vector.tolist())):
            total[i] += share / sum(shares) * value
    (row,), _ = adapter([slot])
    np.testing.assert_allclose(row.tolist(), scaled(total), rtol=2e-4, atol=2e-5)


def test_the_task_is_a_trained_vector_through_an_mlp_of_its_own(adapter):
    (row,), _ = adapter([Slot("task")])
    weights = adapter.state_dict()
    np.testing.assert_allclose(row.tolist(), scaled(mlp(weights, "task", weights["task_vector"].tolist())), rtol=1e-4, atol=1e-6)


def test_neighbours_with_longer_histories_change_nothing(adapter):
    slots = [Slot("task"), person(1, 3), Slot("task"), person(2, 200), person(3, 1)]
    rows, _ = adapter(slots)
    for slot, row in zip(slots, rows, strict=True):
        torch.testing.assert_close(adapter([slot])[0][0], row)
    torch.testing.assert_close(rows.norm(dim=1), torch.full((5,), NORM))


def test_the_query_decides_which_reviews_count(adapter):
    history = tuple(units(5, 2))

    def row(query: np.ndarray) -> torch.Tensor:
        return adapter([Slot("person", query, history)])[0][0]

    sharp = np.float32(200)  # so that one review takes it all
    torch.testing.assert_close(row(history[0] * sharp), row_of(adapter, history[0]))
    torch.testing.assert_close(row(history[1] * sharp), row_of(adapter, history[1]))
    even = adapter([Slot("person", np.zeros(D, np.float32), history)])[0][0]
    assert not torch.allclose(even, row(history[0] * sharp), atol=1e-3)


def row_of(adapter, vector: np.ndarray) -> torch.Tensor:
    return adapter([Slot("person", vector, (vector,))])[0][0]


def test_gradients_reach_what_was_used(adapter):
    rows, seen = adapter([Slot("task"), Slot("task")])
    assert adapter.penalty(seen, None) == (None, {})
    rows[:, 0].sum().backward()
    used = {name for name, parameter in adapter.named_parameters() if parameter.grad is not None}
    assert used == {"task_vector", "task.0.weight", "task.0.bias", "task.2.weight", "task.2.bias"}
    rows, _ = adapter([Slot("task"), person(1, 4)])
    rows[1, 0].backward()
    assert all(adapter.get_parameter(f"history.{n}.weight").grad.abs().sum() > 0 for n in (0, 2))


def test_both_tokens_stand_side_by_side_before_the_text(adapter):
    slots = methods.find("pplug").before(units(1, 3), units(2, 1)[0])
    soft = project(adapter, Prompt((*slots, Text("Write."))))
    assert [slot.kind for slot in slots] == ["task", "person"]
    assert soft.parts[0].rows.shape == (2, H) and soft.parts[1] == Text("Write.")
    assert [slot.kind for slot in methods.find("pplug").before([], units(2, 1)[0])] == ["task"]
