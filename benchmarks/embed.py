"""Embedding speed: an embedder, from texts to vectors, against its encoder alone on batches without a padded position.

    python benchmarks/embed.py FILE [--embedder minilm]      texts of a file of reviews, the packaged minilm
    python benchmarks/embed.py FILE --embedder bge-m3 [--layers 24]   bge-m3's shape with random weights

"Alone" is the encoder's own speed: the same numbers of tokens in the same batches, every text of a batch as long as its mean,
nothing tokenized, masked or copied. Both sides run in turn; the ratio of each pair is taken and their median told.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import click
import torch
from machine import machine

from depcli import embedders
from depcli.embedders.batching import CPU_TOKENS, GPU_TOKENS, batches_of
from depcli.embedders.bge_m3 import BgeM3
from depcli.readers import open_reviews


def random_bge(folder: Path, layers: int) -> BgeM3:
    """bge-m3's encoder (hidden 1,024, 16 heads, 4,096 inside) with random weights and minilm's tokenizer."""
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaModel

    from depcli.embedders.minilm import model_path

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    tokenizer.save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=1024,
        num_hidden_layers=layers,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=8194,
        type_vocab_size=1,
        pad_token_id=0,
    )
    XLMRobertaModel(config).save_pretrained(folder)
    for head, width in (("colbert", 1024), ("sparse", 1)):
        torch.save(torch.nn.Linear(1024, width).state_dict(), folder / f"{head}_linear.pt")
    return BgeM3(str(folder))


@click.command()
@click.argument("reviews")
@click.option("--embedder", "name", type=click.Choice(["minilm", "bge-m3"]), default="minilm", show_default=True)
@click.option("--layers", default=24, show_default=True, help="Of bge-m3: fewer for a quick look.")
@click.option("--texts", "count", default=512, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "json_path", help="Write the figures to this file.")
def main(reviews: str, name: str, layers: int, count: int, rounds: int, json_path: str | None):
    texts = list(islice((entry.text for entry in open_reviews(reviews) if hasattr(entry, "text")), count))
    with tempfile.TemporaryDirectory() as folder:
        embedder = random_bge(Path(folder), layers) if name == "bge-m3" else embedders.load("minilm", offline=True)
        embedder.encode(texts[:8])  # loads
        result = measure(embedder, name if name == "minilm" else f"bge-m3's shape, {layers} layers", texts, rounds)
    click.echo(
        f"{result['embedder']} on {result['device']}, {result['threads']} threads: {result['mean_tokens']:.0f} tokens a text"
    )
    click.echo(f"  embedder      {result['tokens_per_second']:9.0f} tokens/s, {result['tokens_per_cpu_second']:.0f} a CPU second")
    click.echo(f"  encoder alone {result['own_per_second']:9.0f} tokens/s, {result['own_per_cpu_second']:.0f} a CPU second")
    click.echo(f"  ratio         {result['ratio_by_wall']:9.3f} by wall clock, {result['ratio_by_cpu']:.3f} by processor time")
    if json_path:
        Path(json_path).write_text(json.dumps(result, indent=2) + "\n")


def measure(embedder, name: str, texts: list[str], rounds: int) -> dict:
    model, tokenizer = embedder._model, embedder._tokenizer
    limit = getattr(embedder, "_max_tokens", 256)
    lengths = [len(ids) for ids in tokenizer(texts, truncation=True, max_length=limit)["input_ids"]]
    batch_tokens = CPU_TOKENS if model.device.type == "cpu" else GPU_TOKENS
    shapes = [(len(batch), round(statistics.mean(lengths[i] for i in batch))) for batch in batches_of(lengths, batch_tokens)]
    alone = [torch.randint(5, 1000, shape, device=model.device) for shape in shapes]

    def own() -> None:
        with torch.inference_mode():
            for ids in alone:
                model(ids).last_hidden_state[0, 0, 0].item()

    own()
    pairs = [(timed(lambda: embedder.encode(texts)), timed(own)) for _ in range(rounds)]
    real, equal = sum(lengths), sum(rows * width for rows, width in shapes)
    rates = {
        "tokens_per_second": [real / ours[0] for ours, _ in pairs],
        "tokens_per_cpu_second": [real / ours[1] for ours, _ in pairs],
        "own_per_second": [equal / theirs[0] for _, theirs in pairs],
        "own_per_cpu_second": [equal / theirs[1] for _, theirs in pairs],
    }
    ratios = {way: [real / ours[i] / (equal / theirs[i]) for ours, theirs in pairs] for i, way in enumerate(("wall", "cpu"))}
    return {
        "embedder": name,
        "machine": machine(),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "texts": len(texts),
        "mean_tokens": statistics.mean(lengths),
        **{key: statistics.median(of) for key, of in rates.items()},
        **{f"ratio_by_{way}": statistics.median(of) for way, of in ratios.items()},
        **{f"ratios_by_{way}": of for way, of in ratios.items()},
    }


def timed(work) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
