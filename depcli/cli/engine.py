"""`--engine` and what goes with it, on every command that writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import click

_OPTIONS = (
    click.option(
        "--engine", type=click.Choice(["llamacpp", "transformers", "vllm", "openai"]),
        help="vllm: many at once on GPUs. openai: the endpoint at OPENAI_BASE_URL, without likelihoods. "
        "[default: llamacpp where there is a GGUF]",
    ),
    click.option(
        "--tensor-parallel", type=click.IntRange(min=1), metavar="N", help="vllm: GPUs that share one backbone. [default: 1]"
    ),
)  # fmt: skip


def choose_engine(function: Callable) -> Callable:
    """Add the options; the command gets `engine` (a name, or None) and `tensor_parallel` (a number)."""

    @wraps(function)
    def with_engine(*arguments, engine: str | None, tensor_parallel: int | None, **values):
        if tensor_parallel and engine != "vllm":
            raise click.UsageError("--tensor-parallel is for --engine vllm.")
        return function(*arguments, engine=engine, tensor_parallel=tensor_parallel or 1, **values)

    for option in reversed(_OPTIONS):
        with_engine = option(with_engine)
    return with_engine
