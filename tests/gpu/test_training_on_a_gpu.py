"""What a CUDA device computes is what the CPU does, within the rounding of its numbers. Nothing here needs the store."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depcli.adapters.dep import DepAdapter, DepLoss, DepShape
from depcli.backbones import find, load_in, load_model, load_tokenizer, weights_digest
from depcli.backbones.fp8 import Fp8Linear, quantize
from depcli.backbones.fused import fuse
from depcli.backbones.passes import checkpoint_layers
from depcli.backbones.sequence import encode, target_losses
from depcli.engines.transformers import TransformersEngine
from depcli.records import Prompt, Sampling, Slot, SoftPrompt, Text, Vectors
from depcli.training.budget import Budget
from depcli.training.examples import Example
from depcli.training.hardware import free_memory
from depcli.training.loop import Loop
from depcli.training.options import TrainOptions
from depcli.training.step import backward
from tests.backbones.test_passes import ARCHITECTURES, BATCH, build, rows_of

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # of the compiler's own
D = 12


def losses(model, batch=BATCH):
    """Losses and the soft tokens' gradient, on the CPU in float32."""
    rows = rows_of(batch).detach().to(model.device).requires_grad_()
    found = target_losses(model, batch, rows)
    (gradient,) = torch.autograd.grad((found * torch.linspace(0.5, 2, len(found), device=found.device)).sum(), rows)
    return found.detach().float().cpu(), gradient.float().cpu()


def examples_of(tokenizer, count: int = 6) -> list[Example]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        slots = tuple(Slot("his", rng.normal(size=D).astype(np.float32)) for _ in range(1 + i % 3))
        prompt = Prompt((Text("A quiet film that grows on you, scene by scene. " * (2 + i)), *slots, Text("and the songs!")))
        answer = "Three stars, and not one more. " * (1 + 2 * i)
        made.append(Example(encode(prompt.parts, tokenizer, answer), slots, prompt, answer))
    return made


def adapter_for(model) -> DepAdapter:
    torch.manual_seed(0)
    return DepAdapter(DepShape(D, 6, model.config.hidden_size, 2.0)).to(model.device)


@pytest.mark.parametrize(("kind", "compiled"), [*((kind, False) for kind in ARCHITECTURES), ("qwen2", True), ("qwen3_moe", True)])
def test_losses_and_gradients_of_every_architecture_are_those_of_the_cpu(kind, compiled):
    expected, wanted = losses(build(kind))
    model = build(kind).cuda()
    if compiled:
        fuse(model)
    found, gradient = losses(model)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gradient, wanted, rtol=1e-2, atol=1e-3 * wanted.abs().max().item())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_in_bfloat16_they_are_equal_within_its_rounding(compiled, checkpointing):
    expected, wanted = losses(build("qwen2"))
    model = build("qwen2", torch.bfloat16).cuda()
    if compiled:
        fuse(model)
    if checkpointing:
        checkpoint_layers(model)
    found, gradient = losses(model)
    torch.testing.assert_close(found, expected, rtol=3e-2, atol=5e-2)
    assert torch.cosine_similarity(gradient.flatten(), wanted.flatten(), dim=0) > 0.99


def rounded(x: torch.Tensor) -> torch.Tensor:
    x8, scale = quantize(x)
    return x8.float() * scale


@pytest.mark.parametrize("compiled", [False, True])
def test_products_in_fp8_are_those_of_the_rounded_numbers(compiled):
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 512).bfloat16()
    layer, x, back = Fp8Linear(linear.cuda()), torch.randn(77, 256).bfloat16(), torch.randn(77, 512).bfloat16()
    if compiled:
        layer.forward = torch.compile(layer.forward, dynamic=True)
    there = x.cuda().requires_grad_()
    y = layer(there)
    y.backward(back.cuda())
    weight, scale = quantize(linear.weight.detach().cpu())
    expected = rounded(x) @ (weight.float() * scale).t() + linear.bias.detach().cpu().float()
    assert (y.detach().float().cpu() - expected).norm() < 0.01 * expected.norm()
    wanted = rounded(back * scale.t()) @ weight.float()
    assert (there.grad.float().cpu() - wanted).norm() < 0.01 * wanted.norm()


def test_a_backbone_in_fp8_is_near_the_whole_one():
    mini = find("mini")
    batch = [example.encoded for example in examples_of(load_tokenizer(mini))]
    rows = torch.randn(sum(len(entry.soft) for entry in batch), load_model(mini, device="cpu").config.hidden_size) * 0.2
    with torch.no_grad():
        exact = target_losses(load_in(mini, None, device="cpu"), batch, rows)
        found = {}
        for precision in ("bf16", "fp8"):
            model = load_in(mini, precision, device="cuda")
            digest = weights_digest(model)
            fuse(model)
            found[precision] = target_losses(model, batch, rows.cuda()).cpu()
            assert weights_digest(model) == digest
    assert (found["bf16"] - exact).norm() < 0.02 * (exact - exact.mean()).norm()
    assert (found["fp8"] - exact).norm() < 0.25 * (exact - exact.mean()).norm()
    assert abs(found["fp8"].mean() - exact.mean()) < 0.05


def test_a_training_goes_the_same_way(tmp_path):
    mini, after = find("mini"), {}
    examples = examples_of(load_tokenizer(mini))
    for device in ("cpu", "cuda"):
        model = load_model(mini, device=device, dtype="float32")
        adapter = adapter_for(model)
        loop = Loop(
            model,
            adapter,
            examples,
            TrainOptions(epochs=2, batch_size=2, patience=3),
            rate=1e-3,
            budget=Budget(500),
            validate=lambda adapter: {"score": 1.0},
            folder=tmp_path / device,
            settings={},
            on_event=lambda event: None,
        )
        loop.run()
        after[device] = {name: tensor.cpu() for name, tensor in adapter.state_dict().items()}
    for name, tensor in after["cpu"].items():
        torch.testing.assert_close(after["cuda"][name], tensor, rtol=1e-2, atol=1e-4)


def test_out_of_memory_makes_smaller_passes_and_the_same_gradients():
    mini, notes = find("mini"), []
    model = load_model(mini, device="cuda", dtype="float32")
    examples, adapter = examples_of(load_tokenizer(mini), 24) * 40, adapter_for(model)

    def gradients(budget: Budget) -> list[torch.Tensor]:
        adapter.zero_grad(set_to_none=True)
        budget.spend(lambda tokens: backward(model, adapter, examples, DepLoss(), tokens), examples)
        return [parameter.grad.clone() for parameter in adapter.parameters() if parameter.grad is not None]

    expected = gradients(Budget(4096))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (2 << 30)) / total)
    try:
        found = gradients(Budget(1 << 20, on_event=notes.append))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(found) == len(expected) > 4 and notes and "out of memory: going on with" in notes[0]["note"]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-5)


def test_greedy_texts_are_those_of_the_cpu():
    mini, texts = find("mini"), {}
    width = load_model(mini, device="cpu").config.hidden_size
    rows = np.random.default_rng(0).normal(size=(4, width)).astype(np.float32) * 0.2
    prompts = [
        SoftPrompt((Text(f"A quiet film, part {i}. "), Vectors(rows), Text("It is")), width, origin="a test") for i in range(10)
    ]
    for device in ("cpu", "cuda"):
        engine = TransformersEngine.open(mini, device=device, exact=True)
        sampling = Sampling(temperature=0, max_new_tokens=40)
        texts[device] = [done.tokens for done in engine.generate((prompt, sampling) for prompt in prompts)]
    assert texts["cuda"] == texts["cpu"]
    assert len(set(map(tuple, texts["cpu"]))) > 1


def test_memory_that_was_given_back_is_free():
    torch.cuda.empty_cache()
    before, device = free_memory(torch.device("cuda")), torch.device("cuda")
    held = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    assert before - free_memory(device) == pytest.approx(1 << 30, rel=0.1)
    del held
    assert free_memory(device) == pytest.approx(before, rel=0.01)
