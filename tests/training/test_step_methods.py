"""The training step with the adapters that have no loss of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from depcli import methods
from depcli.adapters.dep import DepLoss
from depcli.adapters.pplug import PPlugAdapter, PPlugShape
from depcli.adapters.trained_prompt import TrainedPromptAdapter, TrainedPromptShape
from depcli.backbones import weights_digest
from depcli.backbones.sequence import encode
from depcli.records import Item, PastReview, Prompt, Review, Text
from depcli.training.examples import Example
from depcli.training.step import backward
from tests.training.made import D


def pplug(tokenizer) -> list[Example]:
    """Histories of 3, 0, 9, 1 reviews."""
    random = np.random.default_rng(0)
    examples = []
    for i, count in enumerate((3, 0, 9, 1)):
        vectors = random.normal(size=(count + 1, D)).astype(np.float32) / D**0.5
        slots = methods.find("pplug").before(list(vectors[1:]), vectors[0])
        examples.append(example(tokenizer, i, (*slots, Text("A quiet film " * (i + 1))), slots))
    return examples


def trained_prompt(tokenizer) -> list[Example]:
    random = np.random.default_rng(0)
    examples = []
    for i in range(4):
        his = random.normal(size=D).astype(np.float32)
        past = [PastReview(Review("u", f"i{n}", "t"), Item(f"i{n}"), his, his if n else None, n) for n in range(1 + i % 2)]
        slots = tuple(slot for group in methods.find("trained-prompt").slots(past) for slot in group)
        examples.append(example(tokenizer, i, (Text("A quiet film " * (i + 1)), *slots, Text("and the songs!")), slots))
    return examples


def example(tokenizer, i: int, parts, slots) -> Example:
    answer = "Three stars. " * (1 + 2 * i)
    return Example(encode(parts, tokenizer, answer), tuple(slots), Prompt(tuple(parts)), answer)


CASES = {
    "pplug": (pplug, lambda: PPlugAdapter(PPlugShape(D, 64, 2.0))),
    "trained-prompt": (trained_prompt, lambda: TrainedPromptAdapter(TrainedPromptShape(2, 64, 2.0))),
}


@pytest.mark.parametrize("method", CASES)
@pytest.mark.parametrize("micro_tokens", [1, 100_000])
def test_loss_and_gradients_equal_one_slow_pass(parts, method, micro_tokens):
    model, tokenizer = parts
    torch.manual_seed(0)
    make, new = CASES[method]
    batch, adapter, before = make(tokenizer), new(), weights_digest(model)
    terms = backward(model, adapter, batch, DepLoss(), micro_tokens)
    found = {name: parameter.grad for name, parameter in adapter.named_parameters()}

    adapter.zero_grad()
    total, count = 0.0, 0
    for one in batch:  # one by one, logits at every position
        ids = torch.from_numpy(one.encoded.ids.astype(np.int64))
        embeds = model.get_input_embeddings()(ids).clone()
        embeds[torch.from_numpy(one.encoded.soft).long()] = adapter(one.slots)[0]
        n = one.encoded.targets
        total = total + F.cross_entropy(model(inputs_embeds=embeds[None]).logits[0][-n - 1 : -1], ids[-n:], reduction="sum")
        count += n
    (total / count).backward()
    assert terms == {"loss": terms["gen"], "gen": pytest.approx((total / count).item(), rel=1e-5)}
    for name, parameter in adapter.named_parameters():
        if parameter.grad is None:  # an older review's difference, which nobody here has
            assert found[name] is None and name.startswith("vectors.diff")
        else:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6)
            assert parameter.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.parameters()) and weights_digest(model) == before


@pytest.mark.parametrize("method", CASES)
def test_it_learns(parts, method):
    model, tokenizer = parts
    torch.manual_seed(0)
    make, new = CASES[method]
    batch, adapter = make(tokenizer), new()
    optimizer, losses = torch.optim.AdamW(adapter.parameters(), lr=1e-2), []
    for _ in range(8):
        losses.append(backward(model, adapter, batch, DepLoss(), 100_000)["gen"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert losses[-1] < losses[0] - 0.05
