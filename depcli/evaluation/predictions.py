"""The files of an evaluation, and the right to write them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import Incompatible
from depcli.system import resumable

SETTINGS, PREDICTIONS, NLL, SCORES, RESULTS = "settings.json", "predictions.jsonl", "nll.jsonl", "scores.jsonl", "results.json"
ALIGNMENT, SWAP, JUDGE = "alignment.jsonl", "swap.jsonl", "judge.jsonl"
FIELDS = {  # of the lines that others read again
    PREDICTIONS: (
        "id",
        "method",
        "user_id",
        "asin",
        "prediction",
        "reference",
        "prompt_tokens",
        "generated_tokens",
        "finish",
        "shown",
    ),
    NLL: ("id", "method", "nats", "tokens", "cut"),
    SWAP: ("id", "method", "variant", "nats", "tokens"),
    ALIGNMENT: ("id", "method", "text", "cosine", "peers"),
    JUDGE: ("id", "method", "text", "judge", "score"),
    SCORES: ("id", "method", "seed", "user_id", "asin", "real", "nats", "tokens"),
}
PER_METHOD = ("choices", "adapters")  # settings with an entry for each method: more methods may be added to a folder
LOCK = ".lock"


@contextmanager
def claimed(out: Path, settings: dict, advice: Callable[[dict], str] = lambda begun: "") -> Iterator[None]:
    """The right to write into the folder `out`: see resumable.claimed. Methods that are new there add theirs to its settings.
    Raises Incompatible for a folder of something else."""
    there = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.is_dir() else set()
    if there and there.isdisjoint({SETTINGS, PREDICTIONS}):
        raise Incompatible(f"{out} holds something else than an evaluation", "name a new folder with --out")
    with resumable.claimed(
        out / PREDICTIONS, settings, beside=out / SETTINGS, lock=out / LOCK, growing=PER_METHOD, advice=advice
    ):
        yield


def read(path: Path, **remedy: str) -> Iterator[dict]:
    """The lines of one of the files, each with its FIELDS, none when it is not there. See resumable.read_lines, also of what it
    raises and the `remedy` in it."""
    return resumable.read_lines(path, needed=FIELDS[path.name], **remedy)


def digest(text: str) -> str:
    """What stands for a text in the lines of other files."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def about(predictions: Iterable[dict], lines: Iterable[dict]) -> dict[tuple[str, str], dict]:
    """By method and id those of `lines` that are about the texts in `predictions`, and not about what stood there before it was
    edited."""
    texts = {(line["method"], line["id"]): digest(line["prediction"]) for line in predictions}
    found = (((line["method"], line["id"]), line) for line in lines)
    return {key: line for key, line in found if line["text"] == texts.get(key)}
