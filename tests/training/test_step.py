from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from depcli.adapters.dep import DepLoss, dep_losses
from depcli.backbones import weights_digest
from depcli.backbones.sequence import micro_batches
from depcli.training.examples import epoch_batches
from depcli.training.step import backward, review_losses
from tests.training.made import make_examples, new_adapter


def gradients(adapter) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in adapter.named_parameters()}


@pytest.mark.parametrize("micro_tokens", [1, 200, 100_000])
def test_loss_and_gradients_equal_one_slow_pass_whatever_the_accumulation(parts, micro_tokens):
    model, tokenizer = parts
    batch, weights = make_examples(tokenizer), DepLoss(lambda_sae=3.0)
    adapter = new_adapter()
    terms = backward(model, adapter, batch, weights, micro_tokens)
    found = gradients(adapter)

    adapter.zero_grad()
    rows, seen = adapter([slot for example in batch for slot in example.slots])
    total, count, start = 0.0, 0, 0
    for example in batch:  # one by one, logits at every position
        ids = torch.from_numpy(example.encoded.ids.astype(np.int64))
        embeds = model.get_input_embeddings()(ids).clone()
        embeds[torch.from_numpy(example.encoded.soft).long()] = rows[start : start + len(example.slots)]
        start += len(example.slots)
        logits = model(inputs_embeds=embeds[None]).logits[0]
        n = example.encoded.targets
        total = total + F.cross_entropy(logits[-n - 1 : -1], ids[-n:], reduction="sum")
        count += n
    slow = total / count + dep_losses(seen, weights)["sae"]
    slow.backward()
    assert terms["loss"] == pytest.approx(slow.item(), rel=1e-5)
    for name, gradient in gradients(adapter).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6)


def test_gradients_reach_every_part_of_the_adapter_and_nothing_else(parts):
    model, tokenizer = parts
    before = weights_digest(model)
    adapter = new_adapter()
    backward(model, adapter, make_examples(tokenizer), DepLoss(), 500)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapter.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert weights_digest(model) == before


def test_losses_of_reviews_are_the_generation_term(parts):
    model, tokenizer = parts
    batch, adapter = make_examples(tokenizer), new_adapter()
    terms = backward(model, adapter, batch, DepLoss(), 500)
    nats, tokens = review_losses(model, adapter, batch, 100)
    assert nats.sum() / tokens.sum() == pytest.approx(terms["gen"], rel=1e-5)


def test_epochs_cover_every_example_once_in_a_repeatable_order():
    lengths = [i * 7 % 31 for i in range(100)]
    first = epoch_batches(lengths, 16, seed=3, epoch=0)
    assert sorted(i for batch in first for i in batch) == list(range(100))
    assert first == epoch_batches(lengths, 16, seed=3, epoch=0)
    assert first != epoch_batches(lengths, 16, seed=3, epoch=1)
    assert max(len(batch) for batch in first) == 16


@pytest.mark.parametrize("grain", [1, 16])
def test_micro_batches_respect_the_padded_budget(grain):
    lengths = [5, 90, 3, 40, 40, 200]
    passes = micro_batches(lengths, 100, grain)
    assert sorted(i for chosen in passes for i in chosen) == list(range(6))
    for chosen in passes:
        assert len(chosen) == 1 or math.ceil(max(lengths[i] for i in chosen) / grain) * grain * len(chosen) <= 100
    assert max(map(len, passes)) > 1
