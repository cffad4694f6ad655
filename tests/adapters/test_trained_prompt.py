from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depcli import methods
from depcli.adapters.trained_prompt import TrainedPromptAdapter
from depcli.records import Item, PastReview, Review


@pytest.fixture
def adapter():
    torch.manual_seed(0)
    return TrainedPromptAdapter.make(SimpleNamespace(history=3), d=12, hidden=10, token_norm=2.0)


def past(seed: int, *, peers: bool = True) -> PastReview:
    his, diff = np.random.default_rng(seed).normal(size=(2, 12)).astype(np.float32)
    return PastReview(Review(f"user{seed}", "item", f"text {seed}"), Item("item"), his, diff if peers else None, int(peers))


def test_it_has_as_many_tokens_at_the_same_places_as_dep():
    shown = [past(1), past(2, peers=False), past(3)]
    ours, deps = (methods.find(name).slots(shown) for name in ("trained-prompt", "dep"))
    assert [len(group) for group in ours] == [len(group) for group in deps] == [6, 3, 6]
    assert [[slot.kind.rpartition("_")[0] for slot in group] for group in ours] == [[slot.kind for slot in g] for g in deps]
    assert all(slot.embedding is None and not slot.history for group in ours for slot in group)
    assert len({slot.kind for group in ours for slot in group}) == 15


def test_it_is_the_same_for_everyone(adapter):
    slots = methods.find("trained-prompt").slots

    def rows(*shown: PastReview) -> torch.Tensor:
        return adapter([slot for group in slots(shown) for slot in group])[0]

    assert torch.equal(rows(past(1), past(2)), rows(past(3), past(4)))
    assert torch.equal(rows(past(1), past(2))[6:], rows(past(5)))  # the newest review has the same ones however many there are
    assert len(rows(past(1), past(2), past(3)).unique(dim=0)) == 18


def test_only_the_tokens_that_were_used_learn(adapter):
    (group,) = methods.find("trained-prompt").slots([past(1, peers=False)])
    rows, seen = adapter(group)
    assert adapter.penalty(seen, None) == (None, {})
    rows.sum().backward()
    learned = {name for name, parameter in adapter.named_parameters() if parameter.grad is not None}
    assert learned == {"vectors.his_start_0", "vectors.his_0", "vectors.his_end_0"}
    torch.testing.assert_close(rows.norm(dim=1), torch.full((3,), 2.0), rtol=0.8, atol=0)
