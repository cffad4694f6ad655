"""What was written, in the shape of LaMP's outputs, as its own evaluation reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from depcli import resumable
from depcli.errors import BadInput, NotFound
from depcli.evaluation import predictions as files
from depcli.evaluation.run import request_id
from depcli.evaluation.split import Target
from depcli.readers.lamp import TARGET


def predictions(run: Path, task: str, *, method: str | None = None, seed: int | None = None) -> dict:
    """{"task", "golds": [{"id", "output"}]} from the folder of an evaluation, or from the file of a batch of requests.

    Of an evaluation with several methods one has to be named; `seed` is a sampling seed, by default the first of the run. Raises
    NotFound when there is nothing of that kind, BadInput when something was asked for and not written.
    """
    if run.is_dir():
        found = _of_evaluation(run, method, seed)
    elif run.is_file():
        found = _of_batch(run)
    else:
        raise NotFound(f"there is no {run}", "name the folder of a dep eval, or the file of a dep write --requests")
    golds = [{"id": key, "output": text} for key, text in found]
    if not golds:
        raise NotFound(f"nothing in {run} was written for an input of LaMP", "dep ingest and evaluate its questions first")
    return {"task": task, "golds": golds}


def _of_evaluation(run: Path, method: str | None, seed: int | None) -> Iterator[tuple[str, str]]:
    lines = list(resumable.read_lines(run / files.PREDICTIONS))
    methods = list(dict.fromkeys(line["method"] for line in lines))
    if not methods:
        raise NotFound(f"{run} holds no predictions", "name the folder of a dep eval")
    if method not in methods and (method or len(methods) > 1):
        raise NotFound(
            f"{run} has no method {method!r}" if method else f"{run} has several methods", f"--method {'|'.join(methods)}"
        )
    if seed is None:
        seed = resumable.read_json(run / files.SETTINGS, f"evaluate again into {run}")["sampling"]["seed"]
    for line in lines:
        key = request_id(Target(line["user_id"], line["asin"], None), seed)
        if line["method"] == (method or methods[0]) and line["id"] == key and line["asin"].endswith(TARGET):
            yield line["asin"].removesuffix(TARGET), line["prediction"]


def _of_batch(path: Path) -> Iterator[tuple[str, str]]:
    for line in resumable.read_lines(path):
        if not str(line.get("asin", "")).endswith(TARGET):
            continue
        if "text" not in line:
            raise BadInput(
                f"{path}, line {line.get('line')}: nothing was written: {line.get('error')}", "every id needs its output"
            )
        yield str(line.get("id", line["asin"].removesuffix(TARGET))), line["text"]
