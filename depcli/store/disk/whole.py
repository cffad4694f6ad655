"""Are the files that were just written whole?

LanceDB 0.40 does not notice when the very last piece of a file finds no room: it names the file in a new version of the
table, which nobody can read. Whoever writes therefore looks at the ends of the new files.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from depcli.store.disk.durable import HINT, flush

_ENDS = {".lance": b"LANC", ".arrow": b"ARROW1", ".manifest": b"LANC"}  # rows and indexes; deletions; versions
_NEWEST_FIRST = 2**64 - 1  # manifests are named so that the newest version is listed first


@contextmanager
def whole_files(table) -> Iterator[None]:
    """When a file that the block adds to this LanceDB table is cut short, the block is undone, and OSError raised (no space
    left). Nobody else may be writing."""
    folder, version = Path(table.uri), table.version
    before = _files(folder)
    try:
        yield
    finally:  # LanceDB may have come upon the file itself, and not know why it is cut
        cut = [path for path in _files(folder) - before if not is_whole(path)]
        if cut:
            _take_back(table, version)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cut[0]))


def version_of(manifest: Path) -> int:
    """The version of a table that this file describes, by its name; 0 when it is something else's copy of one."""
    if not manifest.stem.isdecimal():
        return 0
    number = int(manifest.stem)
    return _NEWEST_FIRST - number if number > _NEWEST_FIRST // 2 else number


def is_whole(path: Path) -> bool:
    """Whether this file of a LanceDB table ends as its kind does."""
    end = _ENDS[path.suffix]
    with open(path, "rb") as file:
        file.seek(-min(len(end), path.stat().st_size), os.SEEK_END)
        return file.read() == end


def undo_cut(table: Path, after: int = 0) -> int:
    """Remove the versions later than `after` of the LanceDB table in this folder whose manifests are cut: LanceDB opens no table
    with one among the newest, and cleans none up with one anywhere. A table keeps at least one version. Returns how many
    went. Nobody else may be writing."""
    manifests = sorted((table / "_versions").glob("*.manifest"), key=version_of)
    cut = [path for path in manifests if version_of(path) > after and not is_whole(path)]
    undone = remove_versions(cut if len(cut) < len(manifests) else cut[1:])
    hinted = hinted_version(table)
    if manifests and hinted not in map(version_of, manifests) and hinted < version_of(manifests[-1]):
        (table / "_versions" / HINT).unlink(missing_ok=True)
    return undone


def hinted_version(table: Path) -> int:
    """The version of the table in this folder that LanceDB noted as its newest; 0 when that cannot be read."""
    try:
        return int(json.loads((table / "_versions" / HINT).read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def remove_versions(manifests: Sequence[Path]) -> int:
    """Remove these versions of one table, for good. Returns how many there were."""
    for path in (*manifests, *(path.with_name(HINT) for path in manifests[:1])):
        path.unlink(missing_ok=True)
        flush([path], path.parent)
    return len(manifests)


def _files(folder: Path) -> set[Path]:
    """Those that LanceDB makes: what begins with a dot is the system's, such as macOS's beside each file on some disks."""
    found = (path for part in ("data/*", "_deletions/*", "_indices/*/*") for path in folder.glob(part))
    return {path for path in found if path.suffix in _ENDS and not path.name.startswith(".")}


def _take_back(table, version: int) -> None:
    """Make this version the newest again."""
    try:
        table.restore(version)
    except RuntimeError:  # no room for that either: remove what makes the versions after it
        table.checkout(version)
        folder = Path(table.uri) / "_versions"
        for newer in folder.glob("*.manifest"):
            if version_of(newer) > version:
                newer.unlink()
        (folder / HINT).unlink(missing_ok=True)
        table.checkout_latest()
