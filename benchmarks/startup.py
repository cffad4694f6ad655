"""What starting costs, whole processes run in turn.

    python benchmarks/startup.py [--runs 30] [--profiles STORE [--method rag] ...] [--clock wall|processor] [--json OUT]

`dep --help` as a multiple of `python -c "import click"` (goal: at most 2). With a store also `dep write` with the backbone `mini`
from the start of the process to the first written token, as a multiple of importing llama_cpp, loading the GGUF and making a
context (goal: at most 1.5), and beside that of reading a prompt of the same length too. Every run writes about another
item, in a copy of the store, so that no prompt is known; the disk is warm, and Python keeps what it has compiled.
`--clock processor` takes the processor time of the whole processes, which end after the first token, for machines with other
work; give it OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import click
from machine import machine

from depcli.backbones import find
from depcli.backbones.fetch import gguf_file
from depcli.engines.llama.threads import threads
from depcli.store import Store

PYTHON = [sys.executable, "-c"]
CLI = "import sys; from depcli.cli import main; sys.exit(main(sys.argv[1:]))"
HELP = {
    "python": [*PYTHON, "pass"],
    "import click": [*PYTHON, "import click"],
    "dep --help": [*PYTHON, CLI, "--help"],
    "dep write --help": [*PYTHON, CLI, "write", "--help"],
}
ENGINE = """
import ctypes, sys
import llama_cpp as lib
silent = lib.llama_log_callback(lambda *_: None)
lib.llama_log_set(silent, ctypes.c_void_p(0))
lib.llama_backend_init()
model = lib.llama_model_load_from_file(sys.argv[1].encode(), lib.llama_model_default_params())
params = lib.llama_context_default_params()
params.n_ctx, params.n_batch, params.n_ubatch = 4096, 128, 128
params.n_threads = params.n_threads_batch = int(sys.argv[2])
context = lib.llama_init_from_model(model, params)
left = int(sys.argv[3])
while left:
    size = min(left, 128)
    ids = (lib.llama_token * size)(*range(300, 300 + size))
    assert lib.llama_decode(context, lib.llama_batch_get_one(ids, size)) == 0
    left -= size
sys.stdout.write("x")
sys.stdout.flush()
"""
LOADED, READ = "llama_cpp, mini", "the same, a prompt read"


def to_the_end(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def on_processors(command: list[str]) -> float:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return used() - before


def to_the_first_byte(command: list[str]) -> float:
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as process:
        first = process.stdout.read(1)
        taken = time.perf_counter() - started
        process.stdout.read()
    if not first or process.returncode:
        raise click.ClickException(f"{' '.join(command)} wrote nothing, or failed")
    return taken


@click.command()
@click.option("--runs", default=30, show_default=True)
@click.option("--profiles", "folder", type=click.Path(path_type=Path), help="A store, for `dep write`.")
@click.option("--method", "methods", multiple=True, default=["rag"], show_default=True)
@click.option("--clock", type=click.Choice(["wall", "processor"]), default="wall", show_default=True)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def main(runs: int, folder: Path | None, methods: tuple[str, ...], clock: str, json_path: Path | None) -> None:
    """Print medians and their ratios."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    whole, first = (to_the_end, to_the_first_byte) if clock == "wall" else (on_processors, on_processors)
    result = {"runs": runs, "clock": clock, "machine": machine(), "python": platform.python_version(), "threads": threads()}
    with ExitStack() as stack:
        result["help"] = _measured(runs, {name: lambda name=name: whole(HELP[name]) for name in HELP}, "import click")
        if folder:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "profiles"
            shutil.copytree(folder, place, ignore=shutil.ignore_patterns("cache", "checkpoints"))
            result["write"] = _measured(runs, _writing(place, methods, first), LOADED)
    for part in ("help", "write"):
        for name, row in result.get(part, {}).items():
            click.echo(f"{name:24} {1000 * row['seconds']:7.1f} ms  {row['ratio']:5.2f}")
    if json_path:
        json_path.write_text(json.dumps(result, indent=2) + "\n")


def _measured(runs: int, commands: dict, base: str) -> dict:
    for run in commands.values():
        run()  # compiled files, and the files in the system's cache
    rounds = [{name: run() for name, run in commands.items()} for _ in range(runs)]
    return {
        name: {
            "seconds": round(statistics.median(each[name] for each in rounds), 4),
            "ratio": round(statistics.median(each[name] / each[base] for each in rounds), 3),
        }
        for name in commands
    }


def _writing(place: Path, methods: tuple[str, ...], timed: Callable[[list[str]], float]) -> dict:
    snapshot = Store.open(place).snapshot()
    user = next(user for user, history in snapshot.histories(snapshot.user_ids()[:200]).items() if len(history) >= 8)
    numbers = count()

    def write(method: str, *more: str) -> list[str]:
        title = f"Lamp {next(numbers)}"
        item = ["--item", "new", "--item-title", title, "--item-description", "A man finds a lamp and lights it."]
        options = ["--method", method, "--backbone", "mini", "--max-new-tokens", "1", "--profiles", str(place)]
        return [*PYTHON, CLI, "write", "--user", user, *item, *options, *more]

    told = json.loads(subprocess.run(write(methods[0], "--json"), check=True, capture_output=True).stdout)
    engine = [*PYTHON, ENGINE, str(gguf_file(find("mini"), offline=True)), str(threads())]
    return {
        LOADED: lambda: timed([*engine, "0"]),
        READ: lambda: timed([*engine, str(told["prompt_tokens"])]),
        **{f"dep write, {method}": lambda method=method: timed(write(method)) for method in methods},
    }


if __name__ == "__main__":
    main()
