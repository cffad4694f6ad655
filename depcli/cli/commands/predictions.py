"""`dep predictions`: what was written, as LaMP's evaluation reads it."""

from __future__ import annotations

from pathlib import Path

import click

from depcli.cli.options.common import Setting, every_command
from depcli.words import count


@click.command("predictions")
@click.argument("run", metavar="RUN")
@click.option("--task", required=True, metavar="NAME", help="What LaMP calls it: LaMP_4, LaMP_5, ...")
@click.option("--method", metavar="NAME", help="Whose texts, where the evaluation has several.")
@click.option("--seed", type=click.IntRange(min=0), help="The sampling seed, where it has several. [default: the first]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="[default: standard output]")
@click.option("--replace", is_flag=True, help="Write over FILE if it is there.")
@every_command
def command(setting: Setting, run: str, task: str, method: str | None, seed: int | None, out: Path | None, replace: bool) -> None:
    """Write what a run wrote for LaMP's questions in the shape of LaMP's outputs.

    RUN is the folder of a `dep eval`, its name under evaluations/ of the profiles, or the file of a `dep write --requests`
    (for questions whose answers nobody has).

    \b
    Examples:
      dep predictions headlines --task LaMP_4 --method rag --out preds.json
      dep predictions headlines --task LaMP_4 --method dep --seed 1
      dep predictions written.jsonl --task LaMP_7
    """
    import json

    from depcli.evaluation.lamp import predictions
    from depcli.profiles import run_named
    from depcli.store.export import whole_file

    found, sink = predictions(run_named(setting.profiles, run), task, method=method, seed=seed), setting.sink
    if out is None:
        sink.result(found, lambda: sink.piece(json.dumps(found, ensure_ascii=False) + "\n"))
        return
    with whole_file(out, replace=replace) as file:
        file.write(json.dumps(found, ensure_ascii=False).encode() + b"\n")
    said = {"out": str(out), "task": task, "texts": len(found["golds"])}
    sink.result(said, lambda: sink.line(f"{out} holds {count(len(found['golds']), 'text')}"))
