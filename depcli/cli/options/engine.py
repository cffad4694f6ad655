"""`--engine` and what goes with it, on every command that writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps

import click

from depcli.words import count


def _not_more_than_there_are(ctx, param, threads: int | None) -> int | None:
    cores = os.cpu_count() or 1
    if threads is not None and threads > cores:  # they wait for each other, a hundred times as long as they compute
        raise click.BadParameter(f"{threads} threads on {count(cores, 'processor')}.", ctx, param)
    return threads


_ENGINE = click.option(
    "--engine",
    type=click.Choice(["llamacpp", "transformers", "vllm", "openai"]),
    help="vllm: many at once on GPUs. openai: the endpoint at OPENAI_BASE_URL, without likelihoods. "
    "[default: llamacpp where there is a GGUF]",
)
_TUNING = (
    click.option(
        "--parallel",
        type=click.IntRange(min=1),
        metavar="N",
        help="llamacpp: texts side by side, of many; a word may depend on those beside. [default: 1]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        callback=_not_more_than_there_are,
        metavar="N",
        help="llamacpp: at most; beside other work fewer. [default: all, or OMP_NUM_THREADS]",
    ),
    click.option("--gpu-layers", type=click.IntRange(min=0), metavar="N", help="llamacpp: layers on the GPU. [default: all]"),
    click.option("--kv-type", type=click.Choice(["f16", "f32", "q8_0"]), help="llamacpp: its memory. [default: f16]"),
    click.option(
        "--tensor-parallel", type=click.IntRange(min=1), metavar="N", help="vllm: GPUs that share one backbone. [default: 1]"
    ),
)
_NAMES = ("parallel", "threads", "gpu_layers", "kv_type", "tensor_parallel")


def choose_engine(function: Callable) -> Callable:
    """Add the options; the command gets `engine` (a name, or None) and `tuning` (engines.tuning.Tuning)."""

    @wraps(function)
    def with_engine(*arguments, **values):
        from depcli.engines.tuning import Tuning

        asked = {name: values.pop(name) for name in _NAMES}
        tuning = Tuning(**{name: value for name, value in asked.items() if value is not None})
        return function(*arguments, tuning=tuning, **values)

    for option in reversed((_ENGINE, *_TUNING)):
        with_engine = option(with_engine)
    return with_engine
