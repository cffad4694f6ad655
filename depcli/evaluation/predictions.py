"""The files of an evaluation: lines appended as they are made, and beside them the settings they were made with.

A kill at any moment costs at most the line being written: the next run drops an unfinished last line and goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.atomic import write_atomically
from depcli.errors import BadInput, DepError, Incompatible

SETTINGS, PREDICTIONS, NLL, SCORES, RESULTS = "settings.json", "predictions.jsonl", "nll.jsonl", "scores.jsonl", "results.json"
ALIGNMENT, SWAP = "alignment.jsonl", "swap.jsonl"
PER_METHOD = ("choices", "adapters")  # settings with an entry for each method: more methods may be added to a folder
_LOCK = ".lock"


@contextmanager
def claimed(out: Path, settings: dict) -> Iterator[None]:
    """The right to write into the folder `out`, for one process at a time, and only with the settings it was begun with. (Methods
    that are new there add theirs to these.)

    Raises Incompatible naming the settings that differ, DepError when another run is writing or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(out / _LOCK)
    with file_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DepError(f"another evaluation is writing to {out}", "wait for it, or name another folder with --out") from None
    try:
        _settle(out, json.loads(json.dumps(settings)))
        yield
    finally:
        lock.release()


def _settle(out: Path, settings: dict) -> None:
    """Note the settings in a new folder; in a used one they must be the same."""
    path = out / SETTINGS
    remedy = f"name another folder with --out, or delete {out} to start again"
    if not path.exists():
        if (out / PREDICTIONS).exists():
            raise Incompatible(f"{out} holds predictions, but not the settings they were made with", remedy)
        write_json(path, settings)
        return
    found = read_json(path)
    for name in PER_METHOD:
        if isinstance(found.get(name), dict) and isinstance(settings.get(name), dict):
            settings = {**settings, name: found[name] | settings[name]}
            found[name] = settings[name] | found[name]
    different = [
        f"{name}: expected {json.dumps(found.get(name))}, found {json.dumps(settings.get(name))}"
        for name in sorted(found.keys() | settings.keys())
        if found.get(name) != settings.get(name)
    ]
    if different:
        raise Incompatible(f"{out} was begun with other settings; {'; '.join(different)}", remedy)
    write_json(path, settings)


class JsonLines:
    """A file of JSON objects, one a line, that only grows. `entries` are those that were there; a torn last line is cut off."""

    def __init__(self, path: Path):
        self.path = path
        with file_errors(path.parent):
            _cut_torn_line(path)
        self.entries = list(read_lines(path))

    def append(self, entries: Iterable[dict]) -> Iterator[dict]:
        """Write each entry and flush it to the disk before it is passed on."""
        for entry in entries:
            with file_errors(self.path.parent), self.path.open("ab") as file:
                file.write(_line(entry))
                file.flush()
                os.fsync(file.fileno())
            self.entries.append(entry)
            yield entry


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("r+b") as file:
        end, step = file.seek(0, os.SEEK_END), 1 << 16
        stop = end
        while stop > 0:  # from the back: the file may be large
            start = max(0, stop - step)
            file.seek(start)
            newline = file.read(stop - start).rfind(b"\n")
            if newline >= 0:
                stop = start + newline + 1
                break
            stop = start
        if stop < end:
            file.truncate(stop)


def read_lines(path: Path) -> Iterator[dict]:
    """The objects of a file of JSON lines, none when there is no file. Raises BadInput with the number of a line that is none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise ValueError("not an object")
            except ValueError as error:
                raise BadInput(f"{path}, line {number}: {error}", f"delete {path.parent} to start again") from error
            yield entry


def read_json(path: Path) -> dict:
    """Raises BadInput when the file holds no JSON object."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise BadInput(f"{path}: {error}", f"delete {path.parent} to start again") from error
    return content


def write_json(path: Path, content: dict) -> None:
    """Atomically: the file is the old one or the new one."""
    with file_errors(path.parent):
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii"))


def write_lines(path: Path, entries: Iterable[dict]) -> None:
    """All at once and atomically, for what is derived from other files."""
    with file_errors(path.parent):
        write_atomically(path, b"".join(map(_line, entries)))


def _line(entry: dict) -> bytes:
    # Escaped to ASCII: a model may write anything, and every line stays a line for every reader.
    return json.dumps(entry, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


@contextmanager
def file_errors(out: Path) -> Iterator[None]:
    """Raise a DepError for what a disk can do to the files in `out`: no room, no permission, a file in the way."""
    try:
        yield
    except OSError as error:
        raise DepError(
            f"cannot write the evaluation in {out}: {error.strerror or error}",
            "make room or give access there and run the same command again (it goes on), or name another folder with --out",
        ) from error
