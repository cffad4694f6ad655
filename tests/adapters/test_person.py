"""DEP as a person added to what everyone shares."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depcli import methods
from depcli.adapters.dep import DepAdapter, DepLoss
from depcli.adapters.person import PersonAdapter, principal_axes
from depcli.adapters.trained_prompt import TrainedPromptAdapter
from depcli.records import Item, PastReview, Review, Slot

D, H = 12, 10


def make(**options) -> PersonAdapter:
    torch.manual_seed(0)
    return DepAdapter.make(SimpleNamespace(reduction="pca", latents=3, history=4, **options), d=D, hidden=H, token_norm=2.0)


def prompts(count: int = 40) -> list[tuple[Slot, ...]]:
    """Of people who differ along one direction of `his` and another of `diff`, each a little otherwise in every review."""
    rng = np.random.default_rng(0)
    made = []
    for person in rng.normal(size=(count, 2)):
        noise = rng.normal(size=(3, 2, D)) * 0.05
        his, diff = (person[kind] * np.eye(D)[3 + kind] + 7.0 + noise[:, kind] for kind in (0, 1))
        past = [
            PastReview(Review("u", f"i{n}", "t"), Item(f"i{n}"), his[n].astype(np.float32), diff[n].astype(np.float32), 5)
            for n in range(3)
        ]
        made.append(tuple(slot for group in methods.find("dep").slots(past) for slot in group))
    return made


def test_untrained_it_is_a_trained_prompt_whoever_the_person_is():
    adapter = make()
    adapter.fit(prompts())
    torch.manual_seed(0)
    control = TrainedPromptAdapter.make(SimpleNamespace(history=4), d=D, hidden=H, token_norm=2.0)
    one, other = prompts()[:2]
    wanted = control([Slot(f"{slot.kind}_{slot.age}") for slot in one])[0]
    for slots in (one, other):
        rows, seen = adapter(slots)
        assert torch.equal(rows, wanted)
        assert adapter.penalty(seen, DepLoss()) == (None, {})


def test_rows_follow_the_formula():
    adapter = make()
    adapter.fit(prompts())
    torch.manual_seed(1)
    for linear in adapter.maps.values():
        torch.nn.init.normal_(linear.weight)
    slots = prompts()[5]
    rows, _ = adapter(slots)
    w = {name: tensor.numpy() for name, tensor in adapter.state_dict().items()}
    for slot, row in zip(slots, rows, strict=True):
        expected = w[f"shared.{slot.kind}_{slot.age}"].astype(float)
        if slot.embedding is not None:
            for axis in range(3):
                component = sum((slot.embedding - w[f"centre_{slot.kind}"]) * w[f"axes_{slot.kind}"][:, axis])
                expected = expected + component * w[f"maps.{slot.kind}.weight"][:, axis] / H**0.5
        np.testing.assert_allclose(row.detach().numpy(), 2.0 * expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(adapter([slot])[0][0], row)


def test_the_directions_are_those_in_which_people_differ_and_the_people_cancel_out():
    adapter = make()
    everyone = prompts()
    adapter.fit(everyone)
    for kind, direction in (("his", 3), ("diff", 4)):
        axes = adapter.state_dict()[f"axes_{kind}"]
        assert axes[:, 0].abs().argmax() == direction and axes[direction, 0] > 0
        vectors = [np.stack([s.embedding for s in slots if s.kind == kind]) for slots in everyone]
        found = [adapter.components(kind, torch.from_numpy(one)) for one in vectors]
        torch.testing.assert_close(torch.stack([one.mean(0) for one in found]).mean(0), torch.zeros(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(torch.cat(found).std(correction=0), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_axes_equal_a_singular_value_decomposition():
    rows = np.random.default_rng(0).normal(size=(30, 6)) * [1, 5, 2, 3, 0.1, 0.2] + 4
    axes = principal_axes(rows, 3)
    _, _, wanted = np.linalg.svd(rows - rows.mean(0))
    np.testing.assert_allclose(np.abs(axes.T @ wanted[:3].T), np.eye(3), atol=1e-9)
    few = principal_axes(np.eye(6)[:2], 3)  # two rows have one direction
    assert np.count_nonzero(np.linalg.norm(few, axis=0)) == 1


@pytest.mark.parametrize("kinds", [("his",), ("diff",), ()])
def test_kinds_that_do_not_occur_leave_finite_numbers(kinds):
    adapter = make()
    slots = [tuple(slot for slot in group if slot.kind in kinds) for group in prompts()]
    adapter.fit(slots)
    assert all(torch.isfinite(tensor).all() for tensor in adapter.state_dict().values())
    if kinds:
        assert torch.isfinite(adapter(slots[0])[0]).all()


def test_it_comes_back_from_its_configuration():
    adapter = make()
    adapter.fit(prompts())
    again = DepAdapter.from_config(adapter.config())
    again.load_state_dict(adapter.state_dict())
    assert torch.equal(again(prompts()[0])[0], adapter(prompts()[0])[0])
    assert again.type == "dep"
