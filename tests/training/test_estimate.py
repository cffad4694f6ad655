"""The estimate before a training against what passes of several shapes really take."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from depcli.backbones.passes import checkpoint_layers, hidden_at
from depcli.backbones.sequence import Encoded, embed, target_losses
from depcli.records import Prompt
from depcli.training import estimate as module
from depcli.training.estimate import Shape, estimate
from depcli.training.examples import Example
from depcli.training.hardware import Hardware

FACTOR = 2.0
_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")
SIZES = {
    name: dict(zip(_NAMES, sizes, strict=True))
    for name, sizes in {
        "wide": (64, 768, 4, 4, 2, 500),
        "deep": (96, 96, 9, 2, 2, 500),
        "many words": (32, 32, 1, 2, 1, 40_000),
    }.items()
}


def build(sizes: dict, dtype=torch.float32):
    config = Qwen2Config(max_position_embeddings=2048, **sizes)
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).to(dtype).eval().requires_grad_(False)


def batch_of(count: int, length: int, targets: int) -> list[Encoded]:
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(1, 400, length).astype(np.int32), np.array([2], np.int32), targets) for _ in range(count)]


def peak(work) -> int:
    """Bytes that torch holds at its highest while `work` runs, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    changes = [
        (event.start_ns(), event.nbytes()) for event in found.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    return max(accumulate(size for _, size in sorted(changes)))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_memory_of_a_pass_is_estimated_within_a_factor(size, checkpointing):
    model, batch = build(SIZES[size]), batch_of(8, 640, 100)
    if checkpointing:
        checkpoint_layers(model)
    rows = torch.randn(8, model.config.hidden_size).requires_grad_()
    target_losses(model, batch[:1], rows[:1]).sum().backward()  # what the first use of a kernel takes is not the pass's
    found = peak(lambda: target_losses(model, batch, rows).sum().backward())
    told = Shape.of(model).pass_memory(8 * 640, 8 * 100, checkpointing=checkpointing)
    assert told / FACTOR < found < told * FACTOR, f"{told >> 20} MiB told, {found >> 20} MiB found"


def test_checkpointing_is_told_to_take_less_and_the_work_to_be_more():
    shape = Shape.of(build(SIZES["deep"]))
    assert shape.pass_memory(1000, 10, checkpointing=True) < shape.pass_memory(1000, 10, checkpointing=False) / 2
    plain, again = (shape.operations(1000, 0, 10, backward=True, checkpointing=on) for on in (False, True))
    assert 1.25 < again / plain < 1.5


def test_operations_are_those_that_torch_counts():
    """Of the decoder's matrices: torch counts neither attention on a CPU nor the head, whose gradient is worked out apart."""
    model, batch = build(SIZES["wide"]), batch_of(1, 512, 60)
    shape = replace(Shape.of(model), vocabulary=0)

    def told(scores: float, **how) -> float:
        return shape.operations(512, targets=60, **how) - 2 * shape.layers * shape.queries * scores

    embeds = embed(model, batch, torch.randn(1, 64)).requires_grad_()
    at = torch.zeros(60, dtype=torch.long), torch.arange(451, 511)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        hidden_at(model, embeds, at, 0)
    with FlopCounterMode(display=False) as both:
        hidden_at(model, embeds, at, 0).sum().backward()
    with FlopCounterMode(display=False) as continued:
        hidden_at(model, embeds, at, 300).sum().backward()
    assert told(512**2, fixed=0, backward=False) == forward.get_total_flops()
    assert told(3.5 * 512**2, fixed=0, backward=True) == both.get_total_flops()
    assert told(512**2 + 2.5 * (512**2 - 300**2), fixed=300, backward=True) == continued.get_total_flops()


def examples(count: int = 6, length: int = 400) -> list[Example]:
    return [Example(encoded, (), Prompt(()), "") for encoded in batch_of(count, length, 20)]


def test_passes_shrink_until_they_fit_and_a_misfit_is_told(monkeypatch):
    model, adapter = build(SIZES["wide"]), torch.nn.Linear(4, 4)
    whole = estimate(model, adapter, examples(), examples(2), 3, 4096, Hardware())
    assert whole.fits and whole.micro_tokens == 6 * 400  # not more than there is
    assert "may not fit" not in " ".join(whole.notes(Hardware())) and whole.seconds > 0
    monkeypatch.setattr(module, "free_memory", lambda device: whole.memory // 3)
    less = estimate(model, adapter, examples(), examples(2), 3, 4096, Hardware())
    assert less.fits and 400 <= less.micro_tokens < 6 * 400 and less.memory <= whole.memory // 3
    monkeypatch.setattr(module, "free_memory", lambda device: 1000)
    none = estimate(model, adapter, examples(), examples(2), 3, 4096, Hardware())
    assert not none.fits and none.micro_tokens == 400 and "may not fit" in " ".join(none.notes(Hardware()))
    assert "--checkpointing" in none.notes(Hardware())[1] and "int4" in none.notes(Hardware())[1]


def test_time_grows_with_epochs(monkeypatch):
    monkeypatch.setattr(module, "matmul_rate", lambda *_: 1e9)
    model, adapter = build(SIZES["deep"]), torch.nn.Linear(4, 4)
    one, ten = (estimate(model, adapter, examples(), examples(2), epochs, 4096, Hardware()) for epochs in (1, 10))
    assert ten.seconds == pytest.approx(10 * one.seconds) and one.seconds > 0
