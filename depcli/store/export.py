"""A state of the store as JSON lines, which `dep ingest` reads into an equal store: items first, then reviews by user."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from depcli.errors import DepError
from depcli.records import Item, Review
from depcli.store.snapshot import Snapshot
from depcli.system.atomic import atomically

_DAYS, _MILLISECONDS = (19_000_101, 21_001_232), 1e11  # as numbers: see readers/fields.py
_EVERY = 1000  # lines between two calls of on_progress


@dataclass(frozen=True)
class Exported:
    """How many lines of each kind were written."""

    items: int
    reviews: int


def export(
    snapshot: Snapshot, file: BinaryIO, *, ascii_only: bool = False, on_progress: Callable[[int], None] | None = None
) -> Exported:
    """Write everything but the vectors as UTF-8, one object per line, in an order that depends on the content alone. Memory stays
    flat. With `ascii_only` all other characters are escaped. `on_progress` gets the number of reviews so far."""
    items = write_lines(file, items_of(snapshot), ascii_only=ascii_only)
    reviews = write_lines(file, map(_review, snapshot.all_reviews()), ascii_only=ascii_only, on_progress=on_progress)
    return Exported(items, reviews)


def items_of(snapshot: Snapshot) -> Iterator[dict]:
    """Every described item as `export` writes it."""
    return map(_item, snapshot.all_items())


def write_lines(
    file: BinaryIO, records: Iterable[dict], *, ascii_only: bool = False, on_progress: Callable[[int], None] | None = None
) -> int:
    """Write JSON objects as UTF-8, one a line; returns how many. See `export`."""
    number = 0
    for number, record in enumerate(records, 1):
        file.write(json.dumps(record, ensure_ascii=ascii_only).encode() + b"\n")
        if on_progress is not None and not number % _EVERY:
            on_progress(number)
    return number


@contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """A file for writing that appears under its name when the block ends without an error, and only then; for its owner alone.
    A name that ends in .gz is compressed. Raises DepError when the file is there, unless it shall be replaced."""
    if os.path.lexists(path) and not replace:
        raise DepError(f"{path} is there already", "give another name, or --replace")
    if path.is_dir():
        raise DepError(f"{path} is a folder", f"name a file: {path / 'reviews.jsonl.gz'}")
    if not path.parent.is_dir():
        raise DepError(f"no folder {path.parent}", f"make it: mkdir -p {path.parent}")
    with atomically(path) as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                yield file
        else:
            yield raw


def _item(item: Item) -> dict:
    task = {"task": item.task} if item.task else {}
    return {"asin": item.asin, "title": item.title, "description": item.description, **task}


def _time(seconds: float | None) -> float | str | None:
    """Unix seconds, or where `dep ingest` would take such a number for a day in digits or for milliseconds, an ISO time."""
    if seconds is not None and (_DAYS[0] <= seconds < _DAYS[1] or seconds > _MILLISECONDS):
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    return seconds


def _review(review: Review) -> dict:
    """The fields that say something: a rating, title or time that is not there is left out."""
    optional = {"rating": review.rating, "title": review.title or None, "timestamp": _time(review.timestamp)}
    superseded = {"superseded": [version.hex() for version in review.superseded]} if review.superseded else {}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"user_id": review.user_id, "asin": review.asin, **given, "text": review.text, **superseded}
