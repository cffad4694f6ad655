"""vLLM with soft prompts against the same vLLM with token prompts of the same lengths: requests and tokens per second.

    python benchmarks/generate.py [--backbone mini | --shape qwen2.5-7b] [--requests 64] [--tensor-parallel N]
                                  [--clock wall|processor] [--more '{"enforce_eager": true}'] [--json OUT]

The sides take turns: soft prompts through our engine (laid out, checked, in order), text through our engine, and token ids
through vLLM's own `LLM.generate`, all at once. Every text has the same length, since no token ends it, and no prompt begins like
another, so that nothing is used again. `--clock processor` counts the time of all threads, for CPUs with other work; give it
OMP_NUM_THREADS=1 and VLLM_ENABLE_V1_MULTIPROCESSING=0. `--more` are arguments of vllm.LLM that replace ours, for all sides alike.
`--shape` is the shape of a real model with random weights: its texts mean nothing.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from machine import machine

from depcli import backbones
from depcli.backbones.catalogue import MINI
from depcli.backbones.sequence import encode
from depcli.engines.vllm.process import prepare_environment
from depcli.records import Sampling, SoftPrompt, Text, Vectors

SHAPES = {
    "qwen2.5-7b": dict(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
    ),
}
REVIEWS, ROWS = 8, 4  # soft tokens as DEP has them: a marker on each side of two vectors, after each of 8 reviews


@click.command()
@click.option("--backbone", default="mini", show_default=True)
@click.option("--shape", type=click.Choice(list(SHAPES)))
@click.option("--requests", default=64, show_default=True)
@click.option("--prompt-tokens", type=int, help="[default: 700, with --shape 3000]")
@click.option("--new-tokens", type=int, help="[default: 64, with --shape 300]")
@click.option("--rounds", default=5, show_default=True)
@click.option("--tensor-parallel", default=1, show_default=True)
@click.option("--clock", "clock_name", type=click.Choice(["wall", "processor"]), default="wall", show_default=True)
@click.option("--more", type=json.loads, default="{}", help="arguments of vllm.LLM, as JSON")
@click.option("--json", "json_path", default=None)
def main(backbone, shape, requests, prompt_tokens, new_tokens, rounds, tensor_parallel, clock_name, more, json_path):
    clock = time.process_time if clock_name == "processor" else time.perf_counter
    prepare_environment()
    from vllm import __version__
    from vllm.platforms import current_platform

    from depcli.engines.vllm.engine import VllmEngine

    length, written = prompt_tokens or (3000 if shape else 700), new_tokens or (300 if shape else 64)
    with tempfile.TemporaryDirectory() as folder:
        spec = backbones.find(str(_shaped(Path(folder), SHAPES[shape])) if shape else backbone)
        weights = {"load_format": "dummy"} if shape else {}
        with VllmEngine(spec, offline=True, tensor_parallel=tensor_parallel, more=weights | more) as engine:
            engine._ends, engine._padding = frozenset(), range(0)  # every text goes on to the same length
            found = _rounds(engine, requests, length, written, rounds, clock)
            result = {
                "backbone": shape or spec.name,
                "random_weights": bool(shape),
                "vllm": __version__,
                "tensor_parallel": tensor_parallel,
                "device": current_platform.get_device_name(),
                "machine": machine(),
                "dtype": str(engine._vllm.dtype),
                "requests": requests,
                "prompt_tokens": length,
                "new_tokens": written,
                "rounds": rounds,
                "clock": clock_name,
                "more": more,
                "rows": found,
            }
    for row in found:
        click.echo(
            f"{row['what']:28} {row['requests_per_second']:9.2f} requests/s {row['tokens_per_second']:11,.0f} tokens/s   "
            f"ratio to token ids {row['ratio']:.3f} ({row['least']:.3f} to {row['most']:.3f})"
        )
    if json_path:
        Path(json_path).write_text(json.dumps(result, indent=2) + "\n")


def _shaped(folder: Path, shape: dict) -> Path:
    """A model folder of this shape without weights, with the tokenizer of `mini`."""
    for path in (*MINI.glob("*token*"), MINI / "chat_template.jinja"):
        shutil.copy(path, folder)
    config = json.loads((MINI / "config.json").read_text()) | shape
    for of_mini in ("layer_types", "dep", "max_window_layers"):
        config.pop(of_mini, None)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").touch()  # vLLM makes the weights up
    return folder


def _rounds(engine, requests: int, length: int, written: int, rounds: int, clock) -> list[dict]:
    """Medians over rounds of all sides, and of their ratios to token ids in the same round."""
    sampling = Sampling(temperature=0, max_new_tokens=written)
    sides = {"soft prompts, our engine": [], "text, our engine": [], "token ids, LLM.generate": []}
    for number in range(rounds + 1):
        soft, text, ids = _prompts(engine, requests, length, seed=number)
        taken = (_ours(engine, soft, sampling, clock), _ours(engine, text, sampling, clock), _stock(engine, ids, sampling, clock))
        if number:  # the first round warms up
            for side, seconds in zip(sides.values(), taken, strict=True):
                side.append(seconds)
    theirs = sides["token ids, LLM.generate"]
    rows = []
    for what, seconds in sides.items():
        ratios = [other / one for one, other in zip(seconds, theirs, strict=True)]
        middle = statistics.median(seconds)
        rows.append(
            {
                "what": what,
                "requests_per_second": round(requests / middle, 3),
                "tokens_per_second": round(requests * (length + written) / middle, 1),
                "ratio": round(statistics.median(ratios), 4),
                "least": round(min(ratios), 4),
                "most": round(max(ratios), 4),
            }
        )
    return rows


def _prompts(engine, requests: int, length: int, seed: int) -> tuple[list[SoftPrompt], list[SoftPrompt], list[list[int]]]:
    """Soft prompts, text prompts and token prompts of exactly `length` positions."""
    random = np.random.default_rng(seed)
    words = [f" {word}" for word in _single_tokens(engine)]
    per_part = (length - REVIEWS * ROWS) // REVIEWS
    soft, text, ids = [], [], []
    for _ in range(requests):
        parts: list[Text | Vectors] = []
        for part in range(REVIEWS):
            size = per_part if part else length - REVIEWS * ROWS - per_part * (REVIEWS - 1)
            rows = random.standard_normal((ROWS, engine.width)).astype(np.float32) * 0.05
            parts += [Text("".join(random.choice(words, size))), Vectors(rows)]
        soft.append(SoftPrompt(tuple(parts), engine.width, origin="benchmark"))
        text.append(SoftPrompt((Text("".join(random.choice(words, length))),)))
        # Of other words: vLLM would find those of the text in its cache.
        ids.append(encode((Text("".join(random.choice(words, length))),), engine.tokenizer).ids.tolist())
    for prompt in (soft[0], text[0]):
        if (found := len(encode(prompt.parts, engine.tokenizer).ids)) != length:
            raise AssertionError(f"{found} positions instead of {length}")
    return soft, text, ids


def _single_tokens(engine) -> list[str]:
    """Words that make one token each, with the blank before them."""
    found = (engine.tokenizer.decode([token]) for token in range(300, len(engine.tokenizer)))
    words = [text[1:] for text in found if text.startswith(" ") and text[1:].isascii() and text[1:].isalpha()]
    return [word for word in words if engine.count(f" {word}") == 1][:2000]


def _ours(engine, prompts: list[SoftPrompt], sampling: Sampling, clock) -> float:
    began = clock()
    done = list(engine.generate((prompt, replace(sampling)) for prompt in prompts))
    seconds = clock() - began
    _check(len(completion.tokens) for completion in done)
    return seconds


def _stock(engine, prompts: list[list[int]], sampling: Sampling, clock) -> float:
    from vllm import SamplingParams

    params = SamplingParams(temperature=0, max_tokens=sampling.max_new_tokens, ignore_eos=True, detokenize=False)
    began = clock()
    done = engine._vllm._llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
    seconds = clock() - began
    _check(len(output.outputs[0].token_ids) for output in done)
    return seconds


def _check(written) -> None:
    if len(set(written)) != 1:
        raise AssertionError("texts of different lengths")


if __name__ == "__main__":
    main()
