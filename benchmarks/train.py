"""Training speed: this project's batches against the authors' layout, re-created, on one backbone, data and machine.

    python benchmarks/train.py REVIEWS ITEMS [--backbone mini]        real reviews; or --profiles STORE
    python benchmarks/train.py --shape qwen2.5-7b [--precision fp8]   random weights, made-up samples of the paper's lengths

The authors' layout: one review at a time, padded to a fixed 5,121 positions, logits at every position. Both sides see the
same prompts, the same weights, the same adapter and the same loss; both are warmed up, and run in turn so that a drift of the
machine hits both. On a GPU the turning of queries and keys is compiled for both sides, the rest of what `dep train` compiles
for this project's alone. With --shape every round has samples of its own, as a training has: new lengths cost a GPU time.
With --precision only this project's side is timed; the loss that the backbone has without it stands beside. Rates are by wall
clock and by processor time, which other work on the machine disturbs less; FLOP/s on a CPU by the latter.
"""

from __future__ import annotations

import copy
import json
import statistics
import time

import click
import torch
import torch.nn.functional as F
from machine import machine
from shapes import SHAPES, dep_shape, paper_samples, random_backbone

from depcli import backbones
from depcli.adapters.dep import DepAdapter, DepLoss, DepShape, dep_losses
from depcli.backbones.fp8 import to_fp8
from depcli.backbones.fused import fuse
from depcli.backbones.load import torch_device
from depcli.backbones.passes import checkpoint_layers
from depcli.backbones.sequence import embed, grain_of, in_steps, micro_batches
from depcli.training.estimate import Shape, estimate, matmul_rate
from depcli.training.examples import Example, epoch_batches
from depcli.training.hardware import Hardware, mib
from depcli.training.step import backward

AUTHORS_LENGTH, BATCH, EPOCH = 5121, 16, 3996


def authors_step(model, adapter, example: Example, weights: DepLoss, length: int = AUTHORS_LENGTH) -> float:
    """Gradients of one review, padded to a fixed length, logits of shape (1, length, vocabulary)."""
    rows, seen = adapter(example.slots)
    embeds = embed(model, [example.encoded], rows)
    real, targets = embeds.shape[1], example.encoded.targets
    embeds = F.pad(embeds, (0, 0, 0, length - real))
    mask = torch.zeros(1, length, dtype=torch.long, device=embeds.device)
    mask[:, :real] = 1
    labels = torch.full((1, length), -100, device=embeds.device)
    labels[0, real - targets : real] = torch.from_numpy(example.encoded.ids[-targets:]).long()
    logits = model(inputs_embeds=embeds, attention_mask=mask, use_cache=False).logits.float()
    loss = F.cross_entropy(logits[0, :-1], labels[0, 1:])
    (loss + dep_losses(seen, weights)["sae"]).backward()
    return loss.item()


class Clock:
    """Wall and processor seconds of a block; a GPU's queue is waited for."""

    def __init__(self, device: torch.device):
        self.device = device

    def __enter__(self):
        self._wait()
        self.wall, self.cpu = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_):
        self._wait()
        self.wall, self.cpu = time.monotonic() - self.wall, time.process_time() - self.cpu

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@click.command()
@click.argument("reviews", required=False)
@click.argument("items", required=False)
@click.option("--backbone", default="mini", show_default=True)
@click.option("--profiles", help="A store with minilm's vectors to take the reviews from, instead of REVIEWS ITEMS.")
@click.option("--shape", type=click.Choice(list(SHAPES)), help="Random weights of this shape, samples of the paper's lengths.")
@click.option("--scale", default=1.0, show_default=True, help="Of the paper's lengths, with --shape; the authors' padding too.")
@click.option("--samples", default=64, show_default=True, help="Reviews per measured run of this project's side.")
@click.option("--authors-samples", default=3, show_default=True, help="Reviews per measured run of the authors' side.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--precision", type=click.Choice(["fp8"]), help="Of this project's frozen backbone, with --shape.")
@click.option("--checkpointing", is_flag=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "json_path", help="Write the figures to this file.")
def main(
    reviews,
    items,
    backbone,
    profiles,
    shape,
    scale,
    samples,
    authors_samples,
    rounds,
    precision,
    checkpointing,
    device,
    json_path,
):
    where = torch_device(device)
    if shape:
        model = random_backbone(shape, where)
        sets = [paper_samples(samples, model.config.vocab_size, scale, seed) for seed in range(rounds + 1)]
        adapter = DepAdapter(dep_shape(model)).to(where)
    else:
        spec = backbones.find(backbone)
        model = backbones.load_model(spec, device=device, offline=True)
        tokenizer = backbones.load_tokenizer(spec, offline=True)
        from samples import real_samples, samples_of  # LanceDB, which a machine for random samples may lack

        if profiles:
            from depcli.store import Store

            examples = samples_of(Store.open(profiles), spec, tokenizer, samples)
        else:
            examples = real_samples(spec, tokenizer, reviews, items, samples)
        sets = [examples] * (rounds + 1)
        adapter = DepAdapter(DepShape(384, 192, model.config.hidden_size, 1.0)).to(where)
    weights, padded = DepLoss(), int(AUTHORS_LENGTH * scale)
    theirs = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})  # the same numbers in memory
    slow = authors_step(theirs, adapter, sets[0][0], weights, padded)
    if precision:
        del theirs
        to_fp8(model, model.get_output_embeddings())
    if where.type == "cuda":
        fuse(model)
    if checkpointing:
        checkpoint_layers(model)
    hardware = Hardware(device, precision, checkpointing)
    told = estimate(model, adapter, sets[0], [], 1, 32768 if where.type == "cuda" else 4096, hardware)

    def ours(examples: list[Example]) -> Clock:
        batches = batches_of(examples)
        with Clock(where) as clock:
            for batch in batches:
                backward(model, adapter, batch, weights, told.micro_tokens)
                adapter.zero_grad()
        return clock

    def authors(examples: list[Example]) -> Clock:
        if where.type == "cuda":
            torch.cuda.empty_cache()  # each side gets all the memory
        with Clock(where) as clock:
            for example in examples[:authors_samples]:
                authors_step(theirs, adapter, example, weights, padded)
                adapter.zero_grad()
        return clock

    quick = backward(model, adapter, sets[0][:1], weights, told.micro_tokens)["gen"]
    adapter.zero_grad()
    ours(sets[0])
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    ours_took, peak, authors_took = [], None, []
    for examples in sets[1:]:
        ours_took.append(ours(examples))
        peak = torch.cuda.max_memory_allocated() if where.type == "cuda" and peak is None else peak
        authors_took += [] if precision else [authors(examples)]
    on_cpu = where.type == "cpu"  # by processor time, so that other work counts on neither side
    rate = matmul_rate(where, model.dtype, Shape.of(model), 1.0, time.process_time if on_cpu else time.monotonic)
    done = statistics.median(
        sum(_work(Shape.of(model), example) for example in examples) / (clock.cpu if on_cpu else clock.wall)
        for examples, clock in zip(sets[1:], ours_took, strict=True)
    )
    lengths, batches = [len(example.encoded.ids) for example in sets[-1]], batches_of(sets[-1])
    seconds = statistics.median(clock.wall for clock in ours_took)
    pairs = [] if precision else list(zip(ours_took, authors_took, strict=True))
    result = {
        "backbone": shape or backbone,
        "weights": "random" if shape else "real",
        "precision": precision or str(model.dtype),
        "checkpointing": checkpointing,
        "device": str(where),
        "machine": machine(),
        "device_name": torch.cuda.get_device_name(where) if where.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "samples": samples,
        "mean_tokens": statistics.mean(lengths),
        "padded_to": padded,
        "micro_tokens": told.micro_tokens,
        "padding_share": padding(batches, told.micro_tokens, grain_of(model)),
        "loss_of_both_layouts": [slow, quick],
        "ours_samples_per_second": samples / seconds,
        "ours_samples_per_cpu_second": statistics.median(samples / clock.cpu for clock in ours_took),
        "authors_samples_per_second": [authors_samples / clock.wall for clock in authors_took],
        "authors_samples_per_cpu_second": [authors_samples / clock.cpu for clock in authors_took],
        "ratios_by_wall": [samples / a.wall / (authors_samples / b.wall) for a, b in pairs],
        "ratios_by_cpu": [samples / a.cpu / (authors_samples / b.cpu) for a, b in pairs],
        "model_flops_per_second": done,
        "matmul_flops_per_second": rate,
        "model_flop_share": done / rate,
        "epoch_of_3996_minutes": EPOCH * seconds / samples / 60,
        "estimated_seconds": told.seconds,
        "measured_seconds": seconds,
        "estimated_memory": told.memory,
        "free_memory": told.free,
        "peak_memory": peak,
    }
    show(result)
    if json_path:
        with open(json_path, "w") as file:
            json.dump(result, file, indent=2)
            file.write("\n")


def batches_of(examples: list[Example]) -> list[list[Example]]:
    lengths = [len(example.encoded.ids) for example in examples]
    return [[examples[i] for i in batch] for batch in epoch_batches(lengths, BATCH, seed=0, epoch=0)]


def show(result: dict) -> None:
    at = result["device_name"] or f"{result['machine']}, {result['threads']} threads"
    lines = [
        f"{result['backbone']} ({result['weights']} weights, {result['precision']}) on {at}",
        f"  tokens          {result['mean_tokens']:9.0f} a sample",
        f"  this project    {result['ours_samples_per_second']:9.3f} samples/s, padding {result['padding_share']:.1%}",
    ]
    if result["ratios_by_wall"]:
        rate = statistics.median(result["authors_samples_per_second"])
        lines += [
            f"  authors' layout {rate:9.3f} samples/s (batch 1, {result['padded_to']:,} positions)",
            f"  ratio           {statistics.median(result['ratios_by_wall']):9.1f} by wall clock, "
            f"{statistics.median(result['ratios_by_cpu']):.1f} by processor time",
        ]
    plain, quick = result["loss_of_both_layouts"]
    lines += [
        f"  loss            {quick:9.4f} of one sample, {plain:.4f} in the authors' layout and in full precision",
        f"  model FLOP/s    {result['model_flops_per_second'] / 1e12:9.4f} T, {result['model_flop_share']:.0%} of plain products "
        f"({result['matmul_flops_per_second'] / 1e12:.4f} T)",
        f"  an epoch of {EPOCH:,} {result['epoch_of_3996_minutes']:9.1f} min",
        f"  estimated       {result['estimated_seconds']:9.1f} s, measured {result['measured_seconds']:.1f} s; "
        f"{mib(result['estimated_memory'])} for training",
    ]
    for line in lines:
        click.echo(line)


def padding(batches, micro_tokens: int, grain: int) -> float:
    """The share of positions that are padding: what packing instead of grouping by length could save."""
    real = width = 0
    for batch in batches:
        lengths = [len(example.encoded.ids) for example in batch]
        for positions in micro_batches(lengths, micro_tokens, grain):
            real += sum(lengths[i] for i in positions)
            width += in_steps(max(lengths[i] for i in positions), grain) * len(positions)
    return 1 - real / width


def _work(shape: Shape, example: Example) -> float:
    encoded = example.encoded
    return shape.operations(len(encoded.ids), int(encoded.soft[0]), encoded.targets, backward=True)


if __name__ == "__main__":
    main()
