"""llama.cpp with soft prompts against llama-cpp-python's own completion, and the second review of a user against the first.

    python benchmarks/llamacpp.py [--backbone mini] [--profiles STORE] [--clock wall|processor] [--json OUT]

Both sides have the same GGUF, prompt lengths, threads and context, and take turns, so that a drift of the machine hits both.
No prompt begins like the one before it, so that nothing is used again. `--clock processor` counts the time of all threads, for
machines with other work; give it OMP_NUM_THREADS=1. With a store there is also what a second request of the same user takes
until its first token.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from pathlib import Path

import click
import llama_cpp
import numpy as np

from depcli import backbones, engines, profiles
from depcli.backbones.fetch import gguf_file
from depcli.engines.llama_context import threads
from depcli.records import Item, Request, Sampling, SoftPrompt, Text, Vectors
from depcli.store import Store
from depcli.writing import make_writer

GROUPS, ROWS = 8, 6  # soft tokens as DEP has them: markers and two vectors after each of 8 reviews
SENTENCE = "A quiet film that grows on you, scene by scene, although nobody in it says what they want. "


@click.command()
@click.option("--backbone", default="mini")
@click.option("--prompt-tokens", default=700)
@click.option("--new-tokens", default=64)
@click.option("--rounds", default=7)
@click.option("--profiles", "folder", type=click.Path(path_type=Path), default=None, help="A store, for the second review.")
@click.option("--users", default=8, help="Users whose second review is timed.")
@click.option("--clock", "clock_name", type=click.Choice(["wall", "processor"]), default="wall")
@click.option("--json", "json_path", default=None)
def main(backbone, prompt_tokens, new_tokens, rounds, folder, users, clock_name, json_path):
    clock = time.process_time if clock_name == "processor" else time.perf_counter
    spec = backbones.find(backbone)
    result = {
        "backbone": backbone, "clock": clock_name, "threads": threads(), "machine": platform.processor() or platform.machine(),
        "llama_cpp_python": llama_cpp.__version__, "prompt_tokens": prompt_tokens, "new_tokens": new_tokens, "rounds": rounds,
    }  # fmt: skip
    with engines.load("llamacpp", spec, offline=True) as engine:
        result["speed"] = _speeds(engine, spec, prompt_tokens, new_tokens, rounds, clock)
        if folder:
            result["second"] = [
                _second(engine, spec, folder, method, template, users, clock)
                for method, template in (("dep", None), ("rag", "compact"), ("rag", "compact-user-first"))
            ]
    for row in result["speed"]:
        click.echo(
            f"{row['what']:12} ours {row['ours']:9,.1f} tokens/s   theirs {row['theirs']:9,.1f}   ratio {row['ratio']:.3f}"
        )
    for row in result.get("second", ()):
        click.echo(
            f"{row['method']:4} {row['template'] or 'its own':20} prompt {row['prompt_tokens']:5.0f} tokens, shared "
            f"{row['shared_tokens']:5.0f}, to the first token {row['first_ms']:6.1f} ms, second {row['second_ms']:6.1f} ms, "
            f"ratio {row['ratio']:.3f}"
        )
    if json_path:
        Path(json_path).write_text(json.dumps(result, indent=2) + "\n")


def _speeds(engine, spec, prompt_tokens: int, new_tokens: int, rounds: int, clock) -> list[dict]:
    room = prompt_tokens + new_tokens
    llm = llama_cpp.Llama(
        str(gguf_file(spec, offline=True)), n_ctx=-(-room // 1024) * 1024, n_threads=threads(), n_threads_batch=threads(),
        verbose=False,
    )  # fmt: skip
    ids = llm.tokenize((SENTENCE * (prompt_tokens // 8)).encode(), add_bos=False)[: prompt_tokens - 1]
    heads = [llm.tokenize(f" {word}".encode(), add_bos=False)[0] for word in ("one", "two")]
    sampling = Sampling(temperature=0, max_new_tokens=new_tokens)

    def theirs(head: int) -> tuple[float, float]:
        began, first, count = clock(), 0.0, 0
        for _ in llm.create_completion([head, *ids], max_tokens=new_tokens, temperature=0.0, repeat_penalty=1.0, stream=True):
            count += 1
            first = first or clock()
        return prompt_tokens / (first - began), (count - 1) / (clock() - first)

    def ours(prompt: SoftPrompt) -> tuple[float, float]:
        times: list[float] = []
        began = clock()
        (done,) = engine.generate([(prompt, sampling)], lambda piece: times.append(clock()))
        if engine.reused or done.prompt_tokens != prompt_tokens:
            raise AssertionError(f"{engine.reused} positions reused, {done.prompt_tokens} tokens")
        return prompt_tokens / (times[0] - began), (done.generated_tokens - 1) / (clock() - times[0])

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


def _second(engine, spec, folder: Path, method: str, template: str | None, users: int, clock) -> dict:
    """Time to the first token of a user's first and second review, each about an item of its own; medians over users."""
    store = Store.open(folder)
    snapshot = store.snapshot()
    adapter = profiles.choose_adapter(folder, method, None, spec.name)[0] if method == "dep" else None
    writer = make_writer(
        store=store, snapshot=snapshot, method=method, backbone=spec, engine=engine, adapter_folder=adapter, template=template
    )
    long = [user for user, history in snapshot.histories(snapshot.user_ids()[: users * 20]).items() if len(history) >= 8][:users]
    first, second, ratios, shared, lengths = [], [], [], [], []
    for user in long:
        requests = [Request(user, Item(word, f"{word} film", f"{word} people meet."), 3.0) for word in ("Some", "Few")]
        taken = []
        for prompt in list(writer.builder.build_all(requests)):
            soft = writer.soft(prompt)
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
        "method": method, "template": template, "users": len(long), "prompt_tokens": middle(lengths),
        "shared_tokens": middle(shared), "first_ms": round(middle(first), 2), "second_ms": round(middle(second), 2),
        "ratio": round(middle(ratios), 3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
