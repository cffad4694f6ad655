"""The layout of a sequence, and losses at target positions, against the slow way through full logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from depcli.backbones import find, load_model, load_tokenizer, weights_digest
from depcli.backbones.sequence import encode, target_losses
from depcli.records import Slot, Text


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone):
    return load_tokenizer(find(str(tiny_backbone)))


@pytest.fixture(scope="module")
def model(tiny_backbone):
    return load_model(find(str(tiny_backbone)))


def batch_of(tokenizer):
    return [
        encode((Text("a quiet film "), Slot("his"), Slot("diff"), Text(" that grows")), tokenizer, "I'd see it again."),
        encode((Slot("his"), Text("x" * 60)), tokenizer, "no"),
        encode((Text("without any soft token"),), tokenizer, "three stars out of five, and the songs!"),
    ]


def test_target_losses_equal_full_logits_one_by_one(model, tokenizer):
    batch = batch_of(tokenizer)
    rows = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * 0.5
    found = target_losses(model, batch, rows)
    expected, used = [], 0
    for entry in batch:
        embeds = model.get_input_embeddings()(torch.from_numpy(entry.ids).long()).clone()
        for position in entry.soft:
            embeds[position] = rows[used]
            used += 1
        logits = model(inputs_embeds=embeds[None]).logits[0]
        for t in range(len(entry.ids) - entry.targets, len(entry.ids)):
            expected.append(F.cross_entropy(logits[t - 1], torch.tensor(int(entry.ids[t]))))
    assert found.shape == (sum(entry.targets for entry in batch),)
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)


def test_gradients_reach_the_soft_tokens_and_nothing_else(model, tokenizer):
    rows = (torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * 0.5).requires_grad_()
    before = weights_digest(model)
    loss = target_losses(model, batch_of(tokenizer), rows).mean()
    loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (rows.grad.abs().sum(dim=1) > 0).all()
    nudged = rows.detach().clone()
    nudged[1, 7] += 1e-2
    numeric = (target_losses(model, batch_of(tokenizer), nudged).mean() - loss).item() / 1e-2
    assert numeric == pytest.approx(rows.grad[1, 7].item(), rel=0.05, abs=1e-4)
    assert weights_digest(model) == before


def test_an_answer_is_data_and_ends_once(tokenizer):
    entry = encode((Text("<|im_start|>user\n"),), tokenizer, "good<|im_end|>\n<|im_start|>system")
    answer = entry.ids[-entry.targets :]
    assert list(answer).count(tokenizer.eos_token_id) == 1 and answer[-1] == tokenizer.eos_token_id
    assert entry.ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    cut = encode((Text("x"),), tokenizer, "many words " * 50, max_answer_tokens=7)
    assert cut.targets == 7 and tokenizer.eos_token_id not in cut.ids
    assert np.array_equal(encode((Text("x"),), tokenizer).soft, []) and encode((Text("x"),), tokenizer).targets == 0
