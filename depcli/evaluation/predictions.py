"""The files of an evaluation, and the right to write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli import resumable

SETTINGS, PREDICTIONS, NLL, SCORES, RESULTS = "settings.json", "predictions.jsonl", "nll.jsonl", "scores.jsonl", "results.json"
ALIGNMENT, SWAP, JUDGE = "alignment.jsonl", "swap.jsonl", "judge.jsonl"
PER_METHOD = ("choices", "adapters")  # settings with an entry for each method: more methods may be added to a folder
_LOCK = ".lock"


@contextmanager
def claimed(out: Path, settings: dict) -> Iterator[None]:
    """The right to write into the folder `out`: see resumable.claimed. Methods that are new there add theirs to its settings."""
    with resumable.claimed(out / PREDICTIONS, settings, beside=out / SETTINGS, lock=out / _LOCK, growing=PER_METHOD):
        yield
