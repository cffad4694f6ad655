"""What an evaluation costs beside the writing: `dep eval` as whole processes, seconds by part.

    python benchmarks/evaluate.py --profiles STORE [--methods nonperso,rag] [--limit 100] [--seeds 1 --seeds 3]
                                  [--backbone mini] [--max-new-tokens N] [--threads N] [--json OUT]

Goal: everything but writing is below 10 % of a run. Beside the parts that `dep eval` counts stands what comes before and after
them (starting, imports). `10 % from` are the seconds that a text would have to take for the rest, as it is, to be below the goal;
with a larger backbone the likelihoods grow as well. One more run, of one review, comes first: the disk is warm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from machine import machine

CLI = [sys.executable, "-m", "depcli", "eval", "--offline", "--no-progress", "--quiet", "--json"]
GOAL = 0.1


@click.command()
@click.option("--profiles", required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--methods", default="nonperso,rag", show_default=True)
@click.option("--limit", default=100, show_default=True)
@click.option("--seeds", multiple=True, type=int, default=(1, 3), show_default=True)
@click.option("--backbone", default="mini", show_default=True)
@click.option("--max-new-tokens", type=int, help="Of a text: random weights end none. [default: that of dep eval]")
@click.option("--threads", type=int, help="Of llama.cpp alone. [default: all, or OMP_NUM_THREADS]")
@click.option("--json", "json_path", default=None)
def main(profiles, methods, limit, seeds, backbone, max_new_tokens, threads, json_path):
    asked = ["--profiles", profiles, "--methods", methods, "--backbone", backbone]
    asked += ["--threads", str(threads)] if threads else []
    asked += ["--max-new-tokens", str(max_new_tokens)] if max_new_tokens else []
    run(asked, 1, 1)
    found = [run(asked, limit, number) for number in seeds]
    for one in found:
        click.echo(f"\n{one['texts']} texts, {one['seeds']} seeds: {one['total']:.1f} s, {one['seconds_per_text']:.3f} s a text")
        for part, seconds in one["seconds"].items():
            click.echo(f"  {part:12} {seconds:7.2f} s  {seconds / one['total']:6.1%}")
        click.echo(
            f"  not writing {one['rest']:8.2f} s  {one['rest_share']:6.1%}  (goal {GOAL:.0%}; {GOAL:.0%} from "
            f"{one['goal_from_seconds_per_text']:.3f} s a text)"
        )
    if json_path:
        told = {
            "machine": machine(),
            "threads": threads,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "methods": methods.split(","),
            "limit": limit,
            "backbone": Path(backbone).name,
            "max_new_tokens": max_new_tokens,
            "goal": GOAL,
            "runs": found,
        }
        Path(json_path).write_text(json.dumps(told, indent=1) + "\n")


def run(asked: list[str], limit: int, seeds: int) -> dict:
    """One `dep eval` into a folder of its own, from the start of the process to its end."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        options = [*asked, "--limit", str(limit), "--seeds", str(seeds), "--out", f"{folder}/run"]
        done = subprocess.run([*CLI, *options], stdout=subprocess.PIPE, check=True)
        total = time.perf_counter() - started
    results = json.loads(done.stdout)
    seconds = {part: spent for part, spent in results["seconds"].items() if spent >= 0.0005}
    seconds["other"] = total - sum(seconds.values())
    metrics = next(iter(results["methods"].values()))["metrics"]
    texts, rest = results["requests"] * len(results["methods"]), total - seconds["writing"]
    return {
        "seeds": seeds,
        "texts": texts,
        "total": round(total, 3),
        "seconds": {part: round(s, 3) for part, s in seconds.items()},
        "seconds_per_text": round(seconds["writing"] / texts, 4),
        "rest": round(rest, 3),
        "rest_share": round(rest / total, 4),
        "goal_from_seconds_per_text": round(rest * (1 - GOAL) / GOAL / texts, 4),
        "not_computed": [name for name, one in metrics.items() if one["value"] is None],
    }


if __name__ == "__main__":
    main()
