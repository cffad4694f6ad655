"""Files of runs that go on: lines appended as they are made, and beside them the settings they were made with.

A kill at any moment costs at most the line being written: the next run drops an unfinished last line and goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import BadInput, DepError, Incompatible
from depcli.system.atomic import to_disk, write_atomically
from depcli.system.lock import Lock
from depcli.system.permissions import private

_SHOWN = 80  # characters of a setting in an error


@contextmanager
def claimed(
    lines: Path,
    settings: dict,
    *,
    beside: Path,
    lock: Path,
    growing: Sequence[str] = (),
    advice: Callable[[dict], str] = lambda begun: "",
) -> Iterator[None]:
    """The right to add to the file `lines`, for one process at a time (the one that holds `lock`), and only with the settings it
    was begun with, which are kept in the file `beside` (JSON values). Those named in `growing` are objects, which may get further
    entries. Makes the folder. Where nothing comes of a file that is begun here, its settings go again.

    Raises Incompatible naming the settings that differ, with what `advice` says of those it was begun with as its hint; DepError
    when another run is writing or the folder cannot be written.
    """
    with file_errors(lines):
        holder = held(lock, DepError(f"another process is writing to {lines}", "wait for it, or name another place with --out"))
    begun = beside.exists()
    try:
        _settle(lines, beside, json.loads(json.dumps(settings)), growing, advice)
        yield
    finally:
        if not begun and not lines.exists():
            beside.unlink(missing_ok=True)
        holder.release()


def held(lock: Path, busy: DepError) -> Lock:
    """The lock file, which this process holds until `release()`. Makes its folder. Raises `busy` while another process holds it,
    OSError where it cannot be made."""

    def refuse(holder: str) -> None:
        raise busy

    with private():
        lock.parent.mkdir(parents=True, exist_ok=True)
        return Lock(lock, refuse)


def _settle(lines: Path, beside: Path, settings: dict, growing: Sequence[str], advice: Callable[[dict], str]) -> None:
    """Note the settings of a new file; those of one that was begun must be the same."""
    remedy = f"name another place with --out: what is in {lines} stays as it is"
    if not beside.exists():
        if lines.exists():
            raise Incompatible(f"{lines} is there, but not the settings it was made with ({beside})", remedy)
        write_json(beside, settings)
        return
    found = read_json(beside, remedy)
    for name in growing:
        if isinstance(found.get(name), dict) and isinstance(settings.get(name), dict):
            settings = {**settings, name: found[name] | settings[name]}
            found[name] = settings[name] | found[name]
    if different := list(differences(found, settings)):
        by_whom = "" if found.keys() == settings.keys() else ", by another version of dep"
        raise Incompatible(f"{lines} was begun with other settings{by_whom}; {'; '.join(different)}", advice(found) or remedy)
    if growing:
        write_json(beside, settings)


def differences(found: dict, settings: dict, above: str = "") -> Iterator[str]:
    """What differs, as people read it, of objects in one another by the innermost names (a.b)."""
    for name in sorted(found.keys() | settings.keys()):
        one, other = found.get(name), settings.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, other, f"{above}{name}.")
        elif one != other:
            yield f"{above}{name}: expected {_short(found, name)}, found {_short(settings, name)}"


def _short(settings: dict, name: str) -> str:
    """A setting as people read it; large ones by their beginning."""
    said = json.dumps(settings[name]) if name in settings else "none"
    return said if len(said) <= _SHOWN else said[: _SHOWN - 3] + "..."


class JsonLines:
    """A file of JSON objects, one a line, that only grows. `entries` are those that were there; a torn last line is cut off.
    `check` may raise before an entry is written; each of those that were there has the fields `needed`, see read_lines."""

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None, needed: Collection[str] = ()):
        self.path, self._check = path, check
        cut_torn_line(path)
        self.entries = list(read_lines(path, needed=needed))

    def append(self, entries: Iterable[dict]) -> Iterator[dict]:
        """Write each entry and flush it to the disk before it is passed on."""
        for entry in append_lines(self.path, entries, self._check):
            self.entries.append(entry)
            yield entry


def append_lines(path: Path, entries: Iterable[dict], check: Callable[[], None] = lambda: None) -> Iterator[dict]:
    """Write each entry and flush it to the disk before it is passed on; none is kept. Before each `check` may raise."""
    for entry in entries:
        check()
        with file_errors(path), open(path, "ab", opener=_for_the_owner) as file:
            file.write(_line(entry))
            file.flush()
            to_disk(file.fileno())
        yield entry


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # texts of people


def cut_torn_line(path: Path) -> None:
    """Take off what a killed process wrote of its last line."""
    if not path.exists():
        return
    with file_errors(path), path.open("r+b") as file:
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


def read_lines(
    path: Path, remedy: str = "restore the file, or name another place with --out", needed: Collection[str] = ()
) -> Iterator[dict]:
    """The objects of a file of JSON lines, none when there is no file. Raises BadInput, with `remedy` as its hint and the number
    of a line that is none, or lacks one of the fields `needed`."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line, parse_constant=_no_number)
                if not isinstance(entry, dict):
                    raise ValueError("not an object")
                if absent := [field for field in needed if field not in entry]:
                    raise ValueError(f"no {absent[0]}")
            except ValueError as error:
                raise BadInput(f"{path}, line {number}: {error}", remedy) from error
            yield entry


def _no_number(said: str):
    raise ValueError(f"{said} is no number")


def read_json(path: Path, remedy: str) -> dict:
    """Raises BadInput, with `remedy` as its hint, when the file holds no JSON object."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except FileNotFoundError as error:
        raise BadInput(f"there is no {path}", remedy) from error
    except ValueError as error:
        raise BadInput(f"{path}: {error}", remedy) from error
    return content


def write_json(path: Path, content: dict) -> None:
    """Atomically: the file is the old one or the new one."""
    with file_errors(path):
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii"))


def write_lines(path: Path, entries: Iterable[dict]) -> None:
    """All at once and atomically, for what is derived from other files."""
    with file_errors(path):
        write_atomically(path, b"".join(map(_line, entries)))


def _line(entry: dict) -> bytes:
    # Escaped to ASCII: a model may write anything, and every line stays a line for every reader.
    return json.dumps(entry, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Raise a DepError for what a disk can do to a file: no room, no permission, another file in the way."""
    try:
        yield
    except OSError as error:
        raise DepError(
            f"cannot write {path}: {error.strerror or error}",
            "make room or give access there and run the same command again (it goes on), or name another place with --out",
        ) from error
