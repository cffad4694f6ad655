"""Training speed: this project's batches against the authors' layout, re-created, on one backbone, data and machine.

    python benchmarks/train.py REVIEWS ITEMS [--backbone mini] [--samples 64] [--json OUT]

The authors' layout: one review at a time, padded to a fixed 5,121 positions, logits at every position. Both sides see the
same prompts, the same adapter and the same loss; both are warmed up, and run in turn so that a drift of the machine hits both.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time

import click
import torch
import torch.nn.functional as F

from depcli import backbones, embedders, methods
from depcli.adapters.dep import DepAdapter, DepLoss, DepShape, dep_losses
from depcli.backbones.sequence import embed
from depcli.evaluation.split import leave_last_out, pairs_of
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.readers import open_reviews
from depcli.store import Store
from depcli.store.ingest import ingest
from depcli.training.examples import Example, epoch_batches, make_examples
from depcli.training.step import backward

AUTHORS_LENGTH = 5121


def authors_step(model, adapter, example: Example, weights: DepLoss) -> float:
    """Gradients of one review, padded to a fixed length, logits of shape (1, 5121, vocabulary)."""
    rows, seen = adapter(example.slots)
    embeds = embed(model, [example.encoded], rows)
    length = embeds.shape[1]
    embeds = F.pad(embeds, (0, 0, 0, AUTHORS_LENGTH - length))
    mask = torch.zeros(1, AUTHORS_LENGTH, dtype=torch.long, device=embeds.device)
    mask[:, :length] = 1
    labels = torch.full((1, AUTHORS_LENGTH), -100, device=embeds.device)
    n = example.encoded.targets
    labels[0, length - n : length] = torch.from_numpy(example.encoded.ids[-n:]).long()
    logits = model(inputs_embeds=embeds, attention_mask=mask).logits.float()
    loss = F.cross_entropy(logits[0, :-1], labels[0, 1:])
    (loss + dep_losses(seen, weights)["sae"]).backward()
    return loss.item()


@click.command()
@click.argument("reviews")
@click.argument("items")
@click.option("--backbone", default="mini")
@click.option("--samples", default=64, help="Reviews per measured run of this project's side.")
@click.option("--authors-samples", default=3, help="Reviews per measured run of the authors' side.")
@click.option("--rounds", default=3)
@click.option("--json", "json_path", default=None)
def main(reviews: str, items: str, backbone: str, samples: int, authors_samples: int, rounds: int, json_path: str | None):
    spec = backbones.find(backbone)
    model, tokenizer = backbones.load_model(spec, offline=True), backbones.load_tokenizer(spec, offline=True)
    examples = _examples(spec, tokenizer, reviews, items, samples)
    adapter = DepAdapter(DepShape(384, 192, model.config.hidden_size, 1.0)).to(model.device)
    weights, lengths = DepLoss(), [len(example.encoded.ids) for example in examples]
    micro_tokens = 32768 if model.device.type == "cuda" else 4096

    def ours() -> float:
        began = time.monotonic()
        for batch in epoch_batches(lengths, 16, seed=0, epoch=0):
            backward(model, adapter, [examples[i] for i in batch], weights, micro_tokens)
            adapter.zero_grad()
        return len(examples) / (time.monotonic() - began)

    def authors() -> float:
        began = time.monotonic()
        for example in examples[:authors_samples]:
            authors_step(model, adapter, example, weights)
            adapter.zero_grad()
        return authors_samples / (time.monotonic() - began)

    check = abs(
        authors_step(model, adapter, examples[0], weights) - backward(model, adapter, examples[:1], weights, micro_tokens)["gen"]
    )
    adapter.zero_grad()
    ours()
    pairs = [(ours(), authors()) for _ in range(rounds)]
    result = {
        "backbone": spec.name,
        "device": str(model.device),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "mean_tokens": statistics.mean(lengths),
        "loss_difference_of_the_two_layouts": check,
        "ours_samples_per_second": statistics.median(a for a, _ in pairs),
        "authors_samples_per_second": statistics.median(b for _, b in pairs),
        "ratio_median": statistics.median(a / b for a, b in pairs),
        "ratios": [a / b for a, b in pairs],
    }
    click.echo(f"{spec.name} on {result['device']}, {result['threads']} threads, {result['mean_tokens']:.0f} tokens per sample")
    click.echo(f"  this project   {result['ours_samples_per_second']:8.2f} samples/s")
    click.echo(f"  authors' layout{result['authors_samples_per_second']:8.2f} samples/s  (batch 1, {AUTHORS_LENGTH} positions)")
    click.echo(f"  ratio          {result['ratio_median']:8.1f}  (runs: {', '.join(f'{r:.1f}' for r in result['ratios'])})")
    if json_path:
        with open(json_path, "w") as file:
            json.dump(result, file, indent=2)


def _examples(spec, tokenizer, reviews: str, items: str, samples: int) -> list[Example]:
    """Training examples of the users with the longest histories, vectors from the offline embedder."""
    with tempfile.TemporaryDirectory() as folder:
        embedder = embedders.load("minilm", offline=True)
        store = Store.create(folder, embedder.identity)
        entries = [entry for path in (items, reviews) for entry in open_reviews(path)]
        users: dict[str, int] = {}
        for entry in entries:
            if hasattr(entry, "user_id"):
                users[entry.user_id] = users.get(entry.user_id, 0) + 1
        chosen = set(sorted(users, key=users.get, reverse=True)[:samples])
        ingest(
            store,
            (e for e in entries if getattr(e, "user_id", None) in chosen or not hasattr(e, "user_id")),
            embedder,
            source=reviews,
        )
        snapshot = store.snapshot()
        split = leave_last_out(snapshot)
        builder = PromptBuilder(
            snapshot,
            methods.find("dep"),
            Template(spec.template),
            backbones.chat_of(tokenizer),
            lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
            max_input_tokens=spec.max_input_tokens,
            held_out=split.held_out,
        )
        return make_examples(builder, tokenizer, pairs_of(split.train, snapshot), 2048)


if __name__ == "__main__":
    main()
