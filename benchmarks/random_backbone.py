"""A backbone with random weights for `--backbone FOLDER`, as safetensors and as GGUF (f16): to measure a laptop's speed with.

    python benchmarks/random_backbone.py FOLDER [--shape qwen2.5-0.5b] [--whole-vocabulary]

Layers of a real model under the vocabulary of `mini`: with those of Qwen2.5-0.5B, 365 million parameters. With
`--whole-vocabulary` it is filled up to the real one's size by words that no text has: 494 million. Its texts mean nothing, and
hardly one ends by itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch
from shapes import NAMES, SHAPES
from tokenizers import Tokenizer
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from depcli.backbones.catalogue import MINI
from depcli.backbones.gguf import write_gguf
from depcli.engines.text import end_tokens


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--shape", type=click.Choice(list(SHAPES)), default="qwen2.5-0.5b", show_default=True)
@click.option("--whole-vocabulary", is_flag=True)
def main(folder, shape, whole_vocabulary):
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    shape_of = dict(zip(NAMES, SHAPES[shape], strict=True))
    if whole_vocabulary:
        _fill(tokenizer, shape_of["vocab_size"])
    shape_of["vocab_size"] = len(tokenizer)
    torch.manual_seed(0)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model = Qwen2ForCausalLM(Qwen2Config(**shape_of, max_position_embeddings=4096, tie_word_embeddings=True, **ends))
    model.base_model.norm.weight.data.fill_(10.0)  # else every token would be about as likely: a few are, as with real weights
    model = model.to(torch.bfloat16)
    model.generation_config.eos_token_id = sorted(end_tokens(model.generation_config, tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_gguf(model, tokenizer, folder / f"{folder.resolve().name}.gguf", "f16")
    click.echo(f"{folder}: {sum(parameter.numel() for parameter in model.parameters()) / 1e6:,.0f} million parameters")


def _fill(tokenizer, size: int) -> None:
    """Make it hold `size` tokens: words that no merge leads to."""
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    whole["model"]["vocab"] |= {f"filler{i}": i for i in range(len(tokenizer), size)}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(whole))


if __name__ == "__main__":
    main()
