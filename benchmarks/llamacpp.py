"""llama.cpp with soft prompts against llama-cpp-python's own completion, several texts side by side against one by one, and the
second review of a user against the first, by the same engine and by another one.

    python benchmarks/llamacpp.py [--backbone mini] [--profiles STORE] [--clock wall|processor] [--beside 1] [--json OUT]

Both sides have the same GGUF, prompt lengths, threads and context, and take turns, so that a drift of the machine hits both.
No prompt begins like the one before it, so that nothing is used again. `--clock processor` counts the time of all threads, for
machines with other work; give it OMP_NUM_THREADS=1. With `--beside` there is such work: both sides may have all processors. With
a store there is also what a second request of the same user takes
until its first token.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import click
import llama_cpp
import numpy as np
from machine import machine

from depcli import backbones, engines
from depcli.actions import choosing
from depcli.actions.writing import make_writer
from depcli.backbones.fetch import gguf_file
from depcli.engines.llama.kept_states import KeptStates
from depcli.engines.llama.threads import threads
from depcli.engines.tuning import Tuning
from depcli.records import Item, Request, Sampling, SoftPrompt, Text, Vectors
from depcli.store import Store

SIDE_BY_SIDE = 8
GROUPS, ROWS = 8, 6  # soft tokens as DEP has them: markers and two vectors after each of 8 reviews
SENTENCE = "A quiet film that grows on you, scene by scene, although nobody in it says what they want. "


@click.command()
@click.option("--backbone", default="mini")
@click.option("--prompt-tokens", default=700)
@click.option("--new-tokens", default=64)
@click.option("--rounds", default=7)
@click.option("--profiles", "folder", type=click.Path(path_type=Path), default=None, help="A store, for the second review.")
@click.option("--users", default=8, help="Users whose second review is timed.")
@click.option("--beside", default=0, help="Other processes that keep a processor busy meanwhile.")
@click.option("--clock", "clock_name", type=click.Choice(["wall", "processor"]), default="wall")
@click.option("--json", "json_path", default=None)
def main(backbone, prompt_tokens, new_tokens, rounds, folder, users, beside, clock_name, json_path):
    clock = time.process_time if clock_name == "processor" else time.perf_counter
    spec = backbones.find(backbone)
    result = {
        "backbone": backbone,
        "clock": clock_name,
        "threads": threads(),
        "machine": machine(),
        "llama_cpp_python": llama_cpp.__version__,
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "rounds": rounds,
        "beside": beside,
    }
    with _busy(beside), engines.load("llamacpp", spec, offline=True) as engine:
        result["speed"] = _speeds(engine, spec, prompt_tokens, new_tokens, rounds, clock)
        if folder:
            result["second"] = [
                _second([engine], users, spec, folder, method, template, clock)
                for method, template in (("dep", None), ("rag", "compact"), ("rag", "compact-user-first"))
            ]
    with _busy(beside):
        result["parallel"] = _parallel(spec, prompt_tokens, new_tokens, rounds, clock)
    if folder:
        result["second_process"] = _second_process(spec, folder, users, clock)
    for row in result["speed"]:
        click.echo(
            f"{row['what']:12} ours {row['ours']:9,.1f} tokens/s   theirs {row['theirs']:9,.1f}   ratio {row['ratio']:.3f}"
        )
    row = result["parallel"]
    click.echo(
        f"{SIDE_BY_SIDE} at once {row['together']:6,.1f} tokens/s    by one {row['alone']:9,.1f}   ratio {row['ratio']:.3f}, "
        f"prompts included {row['whole_ratio']:.3f}"
    )
    for row in (*result.get("second", ()), *([result["second_process"]] if folder else ())):
        click.echo(
            f"{row['method']:4} {row['template'] or 'its own':20} prompt {row['prompt_tokens']:5.0f} tokens, shared "
            f"{row['shared_tokens']:5.0f}, to the first token {row['first_ms']:6.1f} ms, second {row['second_ms']:6.1f} ms, "
            f"ratio {row['ratio']:.3f}"
        )
    if json_path:
        Path(json_path).write_text(json.dumps(result, indent=2) + "\n")


@contextmanager
def _busy(processes: int):
    """So many others that compute without end."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _speeds(engine, spec, prompt_tokens: int, new_tokens: int, rounds: int, clock) -> list[dict]:
    room = prompt_tokens + new_tokens
    llm = llama_cpp.Llama(
        str(gguf_file(spec, offline=True)),
        n_ctx=-(-room // 1024) * 1024,
        n_threads=threads(),
        n_threads_batch=threads(),
        verbose=False,
    )
    ids = llm.tokenize((SENTENCE * (prompt_tokens // 8)).encode(), add_bos=False)[: prompt_tokens - 1]
    heads = [llm.tokenize(f" {word}".encode(), add_bos=False)[0] for word in ("one", "two")]
    sampling = Sampling(temperature=0, max_new_tokens=new_tokens)

    def theirs(head: int) -> tuple[float, float]:
        began, first, count, finish = clock(), 0.0, -1, None  # of its chunks the last is empty
        for chunk in llm.create_completion([head, *ids], max_tokens=new_tokens, temperature=0.0, repeat_penalty=1.0, stream=True):
            count, finish = count + 1, chunk["choices"][0]["finish_reason"]
            first = first or clock()
        return prompt_tokens / (first - began), _steps(count, finish) / (clock() - first)

    def ours(prompt: SoftPrompt) -> tuple[float, float]:
        times: list[float] = []
        began = clock()
        (done,) = engine.generate([(prompt, sampling)], lambda piece: times.append(clock()))
        if engine.reused or done.prompt_tokens != prompt_tokens:
            raise AssertionError(f"{engine.reused} positions reused, {done.prompt_tokens} tokens")
        return prompt_tokens / (times[0] - began), _steps(done.generated_tokens, done.finish) / (clock() - times[0])

    prompts = [_soft(engine, prompt_tokens, word) for word in ("One", "Two")]
    found = []
    for number in range(rounds + 1):
        pair = ours(prompts[number % 2]), theirs(heads[number % 2])
        found += [pair] if number else []  # the first round warms up
    rows = []
    for i, what in enumerate(("prompt", "generation")):
        middle = [statistics.median(pair[side][i] for pair in found) for side in (0, 1)]
        ratio = statistics.median(a[i] / b[i] for a, b in found)
        rows.append({"what": what, "ours": round(middle[0], 1), "theirs": round(middle[1], 1), "ratio": round(ratio, 3)})
    return rows


def _steps(tokens: int, finish: str) -> int:
    """How often the model was asked after the first token: also for the end, where it ended by itself."""
    return tokens - (finish == "length")


def _soft(engine, length: int, word: str) -> SoftPrompt:
    """A prompt of exactly so many positions, with soft tokens as DEP has them."""
    rows = (np.random.default_rng(0).standard_normal((ROWS, engine.width)) * 0.3).astype(np.float32)
    words = (f"{word}: " + SENTENCE * length).split(" ")
    per_group = (length - GROUPS * ROWS) // (GROUPS + 1)
    parts, left = [], length - GROUPS * ROWS
    for group in range(GROUPS + 1):
        text, target = "", per_group if group < GROUPS else left
        while engine.count(text + " " + words[0]) <= target:
            text += " " + words.pop(0)
        while engine.count(text) < target:
            text += "."
        left -= engine.count(text)
        parts += [Text(text), Vectors(rows)] if group < GROUPS else [Text(text)]
    return SoftPrompt(tuple(parts), engine.width)


def _parallel(spec, prompt_tokens: int, new_tokens: int, rounds: int, clock) -> dict:
    """Texts side by side and one by one: written tokens/s without the reading of the prompts, which is measured apart."""
    asked = [
        Sampling(temperature=0.8, seed=seed, max_new_tokens=count) for seed in range(SIDE_BY_SIDE) for count in (1, new_tokens)
    ]
    taken = {1: [], SIDE_BY_SIDE: []}
    with (
        engines.load("llamacpp", spec, offline=True) as one,
        engines.load("llamacpp", spec, offline=True, tuning=Tuning(parallel=SIDE_BY_SIDE)) as many,
    ):
        prompts = [_soft(one, prompt_tokens, word) for word in ("One", "Two", "Red", "Far", "Old", "New", "Hot", "Dry")]
        for _ in range(rounds + 1):
            for count, engine in ((1, one), (SIDE_BY_SIDE, many)):
                seconds, tokens = [], 0
                for part in (asked[::2], asked[1::2]):  # the first token alone, then the text: the difference is the writing
                    engine._llama.forget()  # no prompt is known
                    began = clock()
                    tokens = sum(done.generated_tokens for done in engine.generate(zip(prompts, part, strict=True)))
                    seconds.append(clock() - began)
                taken[count].append((tokens / seconds[1], (tokens - SIDE_BY_SIDE) / (seconds[1] - seconds[0])))
    whole, writing = (
        [[pair[i] for pair in taken[count][1:]] for count in (1, SIDE_BY_SIDE)] for i in (0, 1)
    )  # the first round warms up
    return {
        "alone": round(statistics.median(writing[0]), 1),
        "together": round(statistics.median(writing[1]), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(*writing, strict=True)), 3),
        "whole_ratio": round(statistics.median(b / a for a, b in zip(*whole, strict=True)), 3),
    }


def _second_process(spec, folder: Path, users: int, clock) -> dict:
    """As `_second`, the second review by another engine, which finds what the first has kept."""

    @contextmanager
    def always():
        yield True

    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        kept = KeptStates(Path(place) / "states", always)
        opened = [stack.enter_context(engines.load("llamacpp", spec, offline=True, kept=kept)) for _ in range(2)]
        return _second(opened, users, spec, folder, "rag", "compact-user-first", clock) | {"method": "kept"}


def _second(opened: list, users: int, spec, folder: Path, method: str, template: str | None, clock) -> dict:
    """Time to the first token of a user's first and second review, each about an item of its own; medians over users. The
    engines take turns."""
    store = Store.open(folder)
    snapshot = store.snapshot()
    adapter = choosing.choose_adapter(folder, method, None, spec.name)[0] if method == "dep" else None
    turns = cycle(opened)
    writer = make_writer(
        store=store, snapshot=snapshot, method=method, backbone=spec, engine=opened[0], adapter_folder=adapter, template=template
    )
    long = [user for user, history in snapshot.histories(snapshot.user_ids()[: users * 20]).items() if len(history) >= 8][:users]
    first, second, ratios, shared, lengths = [], [], [], [], []
    for user in long:
        requests = [Request(user, Item(word, f"{word} film", f"{word} people meet."), 3.0) for word in ("Some", "Few")]
        taken = []
        for prompt in list(writer.builder.build_all(requests)):
            soft, engine = writer.soft(prompt), next(turns)
            began = clock()
            (done,) = engine.generate([(soft, Sampling(temperature=0, max_new_tokens=1))])
            taken.append(clock() - began)
        first.append(taken[0] * 1000)
        second.append(taken[1] * 1000)
        ratios.append(taken[1] / taken[0])
        shared.append(engine.reused)
        lengths.append(done.prompt_tokens)
    middle = statistics.median
    return {
        "method": method,
        "template": template,
        "users": len(long),
        "prompt_tokens": middle(lengths),
        "shared_tokens": middle(shared),
        "first_ms": round(middle(first), 2),
        "second_ms": round(middle(second), 2),
        "ratio": round(middle(ratios), 3),
    }


if __name__ == "__main__":
    main()
