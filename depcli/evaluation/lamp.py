"""What was written, in the shape of LaMP's outputs, as its own evaluation reads them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path

from depcli.errors import BadInput, NotFound, Unnamed
from depcli.evaluation import predictions as files
from depcli.evaluation.run import request_id
from depcli.readers.lamp import TARGET
from depcli.splits.split import Target
from depcli.system import resumable

_EXPECTED = "name the folder of a dep eval, or the file of a dep write --requests"


def predictions(run: Path, task: str, *, method: str | None = None, seed: int | None = None) -> dict:
    """{"task", "golds": [{"id", "output"}]} from the folder of an evaluation, or from the file of a batch of requests.

    `seed` is a sampling seed of an evaluation, by default its first. Raises NotFound when there is nothing of that kind, Unnamed
    where one of several methods has to be named, BadInput when something was asked for and not written.
    """
    if run.is_dir():
        found = _of_evaluation(run, method, seed)
    elif run.is_file():
        found = _of_batch(run)
    else:
        raise NotFound(f"there is no {run}", _EXPECTED)
    golds = [{"id": key, "output": text} for key, text in found]
    if not golds:
        raise NotFound(f"nothing in {run} was written for an input of LaMP", "dep ingest and evaluate its questions first")
    return {"task": task, "golds": golds}


def _of_evaluation(run: Path, method: str | None, seed: int | None) -> list[tuple[str, str]]:
    again = "run its `dep eval` again: it takes off what was left half-written, and goes on"
    lines = list(files.read(run / files.PREDICTIONS, remedy=again))
    methods = list(dict.fromkeys(line["method"] for line in lines))
    if not methods:
        raise NotFound(f"{run} holds no predictions", "name the folder of a dep eval")
    known = f"--method {'|'.join(methods)}"
    if method is None and len(methods) > 1:
        raise Unnamed(f"{run} has several methods", known)
    if method not in (None, *methods):
        raise NotFound(f"{run} has no method {method!r}", known)
    first = resumable.read_json(run / files.SETTINGS, f"evaluate again into {run}")["sampling"]["seed"]
    lines = [line for line in lines if line["method"] == (method or methods[0]) and line["asin"].endswith(TARGET)]
    found = _of_seed(lines, first if seed is None else seed)
    if seed is not None and lines and not found:
        there = takewhile(lambda number: _of_seed(lines, number), count(first))
        raise NotFound(f"{run} has no seed {seed}", f"there: {', '.join(map(str, there))}")
    return found


def _of_seed(lines: list[dict], seed: int) -> list[tuple[str, str]]:
    return [
        (line["asin"].removesuffix(TARGET), line["prediction"])
        for line in lines
        if line["id"] == request_id(Target(line["user_id"], line["asin"], None), seed)
    ]


def _of_batch(path: Path) -> Iterator[tuple[str, str]]:
    for line in resumable.read_lines(path, f"{_EXPECTED}; one that was cut short goes on when it is run again"):
        if not str(line.get("asin", "")).endswith(TARGET):
            continue
        if "text" not in line:
            raise BadInput(
                f"{path}, line {line.get('line')}: nothing was written: {line.get('error')}", "every id needs its output"
            )
        yield str(line.get("id", line["asin"].removesuffix(TARGET))), line["text"]
