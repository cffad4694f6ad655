"""Started by torchrun: two workers with a backbone in parts, against the same backbone whole, for each that is named. A failed
assertion ends it."""

from __future__ import annotations

import sys

import torch

from depcli import backbones
from depcli.adapters.dep import DepLoss
from depcli.backbones.passes import checkpoint_layers
from depcli.engines.transformers import TransformersEngine
from depcli.records import Sampling, SoftPrompt, Text
from depcli.training.backbone import load_backbone
from depcli.training.budget import Budget
from depcli.training.hardware import Hardware, OutOfMemory
from depcli.training.shards import Shards, local
from depcli.training.step import backward, review_losses
from depcli.training.workers import Workers, join
from tests.training.made import make_examples, new_adapter

CPU = Hardware("cpu", shard=True)


def in_parts(backbone, workers: Workers, hardware: Hardware = CPU):
    notes = []
    model, workers.weights = load_backbone(backbone, hardware, workers, offline=True, on_event=notes.append)
    assert "spread over 2 workers" in notes[0]["note"], notes
    return model


def gradients(
    model, examples, workers: Workers, tokens: int, budget: Budget | None = None, after=lambda tokens: None
) -> tuple[dict, torch.Tensor]:
    adapter = new_adapter()
    spend = budget.spend if budget else (lambda work, examples: work(tokens))

    def work(tokens: int) -> dict:
        adapter.zero_grad()
        terms = backward(model, adapter, examples, DepLoss(), tokens, workers)
        after(tokens)
        return terms

    terms = spend(work, examples)
    return terms, torch.cat([parameter.grad.flatten() for parameter in adapter.parameters()])


def same(found, expected, **tolerance):
    (terms, gradient), (wanted_terms, wanted) = found, expected
    torch.testing.assert_close(terms["loss"], wanted_terms["loss"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-6)


def holds_half(model, whole):
    """Of the weights that two devices share evenly: all but the last norm."""
    held, total = (sum(local(parameter).untyped_storage().nbytes() for parameter in m.parameters()) for m in (model, whole))
    assert 0.49 * total < held < 0.52 * total, (held, total)


def same_weights(model, whole, shards: Shards):
    assert backbones.weights_digest(model, shards.hold_parameter) == backbones.weights_digest(whole)
    whole_now = [p for p in model.parameters() if local(p) is p and p.numel() > 64]
    assert 0 < sum(p.nbytes for p in whole_now) <= shards.working_memory, "more than a piece is whole"


def too_much():
    torch.empty(1 << 55, dtype=torch.uint8)


def hungry(model, limit: int, layer: int, *, backwards: bool):
    """This worker fails to allocate in a layer of a pass with more than `limit` padded positions."""

    def check(tensor):
        if tensor.shape[0] * tensor.shape[1] > limit:
            too_much()

    def watch(module, inputs, output):
        if not backwards:
            check(output)
        elif output.requires_grad:
            output.register_hook(lambda gradient: check(gradient))

    return model.base_model.layers[layer].self_attn.q_proj.register_forward_hook(watch)


def starved_gather(shards: Shards, after: int):
    """This worker has no room for a piece that the others already send, once, at its `after`-th gather."""
    piece, calls = shards._pieces[1], []
    real = type(piece).unshard

    def unshard(self, async_op=False):
        calls.append(1)
        if len(calls) == after:
            too_much()
        return real(self, async_op)

    for one in {id(p): p for p in shards._pieces}.values():
        type(one).unshard = unshard
    return lambda: setattr(type(piece), "unshard", real)


def texts(backbone, model, tokenizer, count: int, room: int) -> list[str]:
    engine = TransformersEngine(model, tokenizer, backbone)
    prompts = [SoftPrompt((Text("A quiet film " * (i + 1)),)) for i in range(count)]
    return [done.text for done in engine.generate((prompt, Sampling(max_new_tokens=room, temperature=0.0)) for prompt in prompts)]


def check(backbone, workers: Workers) -> None:
    other = workers.rank == 1
    whole, tokenizer = backbones.load_model(backbone, device="cpu"), backbones.load_tokenizer(backbone)
    model = in_parts(backbone, workers)
    holds_half(model, whole)
    same_weights(model, whole, workers.weights)

    examples = make_examples(tokenizer, 7)
    longest = max(len(example.encoded.ids) for example in examples)
    expected = gradients(whole, examples, Workers(), 4 * longest)
    for some, tokens in ((examples, 4 * longest), (examples, 1), (examples[1:2], longest)):  # one makes no pass
        same(gradients(model, some, workers, tokens), gradients(whole, some, Workers(), tokens))
    nats, _ = review_losses(model, new_adapter(), examples, longest, workers)
    torch.testing.assert_close(nats, review_losses(whole, new_adapter(), examples, longest)[0], rtol=1e-5, atol=1e-5)

    for layer, backwards in ((0, False), (1, False), (1, True), (0, True)):
        hook = hungry(model, longest, layer, backwards=backwards) if other else None
        budget = Budget(4 * longest, CPU, workers=workers)
        same(gradients(model, examples, workers, 0, budget), expected)
        assert budget.micro_tokens < 4 * longest  # also of the one that had memory enough
        if hook:
            hook.remove()
    for after in (1, 2, 3, 6, 9):
        mend = starved_gather(workers.weights, after) if other else lambda: None
        budget = Budget(4 * longest, CPU, workers=workers)
        same(gradients(model, examples, workers, 0, budget), expected)
        assert budget.micro_tokens == 2 * longest, after
        mend()
    budget = Budget(4 * longest, CPU, workers=workers)
    room = 2 * longest if other else 4 * longest
    late = gradients(model, examples, workers, 0, budget, lambda tokens: tokens > room and too_much())
    same(late, expected)  # when all have made their passes
    assert budget.micro_tokens == 2 * longest
    hook = hungry(model, 1, 1, backwards=False) if other else None
    try:
        gradients(model, examples, workers, 0, Budget(4 * longest, CPU, workers=workers))
    except OutOfMemory:
        pass
    else:
        raise AssertionError("nobody is out of memory")
    if hook:
        hook.remove()

    mine = texts(backbone, model, tokenizer, 9 if other else 2, 12 if other else 5)  # one writes longer, and in two windows
    workers.weights.finish()
    assert mine == texts(backbone, whole, tokenizer, 9 if other else 2, 12 if other else 5)
    same(gradients(model, examples, workers, longest), expected)

    checkpoint_layers(model)
    same(gradients(model, examples, workers, longest), expected)
    same_weights(model, whole, workers.weights)

    workers.weights.finish()
    model = in_parts(backbone, workers, Hardware("cpu", "fp8", shard=True))
    whole = backbones.load_in(backbone, "fp8", device="cpu")
    same_weights(model, whole, workers.weights)
    same(gradients(model, examples, workers, longest), gradients(whole, examples, Workers(), longest))
    workers.weights.finish()
    workers.wait()


joined, _ = join("cpu")
for folder in sys.argv[1:]:
    check(backbones.find(folder), joined)
