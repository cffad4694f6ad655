"""Are the files that were just written whole?

LanceDB 0.40 does not notice when the very last piece of a file finds no room: it names the file in a new version of the
table, which nobody can read. Whoever writes therefore looks at the ends of the new files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

_ENDS = {".lance": b"LANC", ".arrow": b"ARROW1", ".manifest": b"LANC"}  # rows and indexes; deletions; versions


@contextmanager
def whole_files(table) -> Iterator[None]:
    """When a file that the block adds to this LanceDB table is cut short, the block is undone, and OSError raised (no space
    left). Nobody else may be writing."""
    folder, version = Path(table.uri), table.version
    before = _files(folder)
    try:
        yield
    finally:  # LanceDB may have come upon the file itself, and not know why it is cut
        cut = [path for path in _files(folder) - before if not _is_whole(path)]
        if cut:
            _take_back(table, version)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(cut[0]))


def undo_cut_versions(folder: Path) -> int:
    """Remove the newest versions of the LanceDB tables in `folder` whose manifests are cut, as a power cut may leave them: nobody
    can open a table with one. A table keeps at least one version. Returns how many went. Nobody else may be writing."""
    undone = 0
    for versions in sorted(folder.glob("*.lance/_versions")):
        manifests = sorted(versions.glob("*.manifest"))  # by names of 20 digits that count down: newest first
        cut = list(takewhile(lambda path: not _is_whole(path), manifests[:-1]))
        for path in (*cut, versions / "latest_version_hint.json") if cut else ():
            path.unlink(missing_ok=True)
        undone += len(cut)
    return undone


def _files(folder: Path) -> set[Path]:
    return {path for part in ("data/*", "_deletions/*", "_indices/*/*") for path in folder.glob(part) if path.suffix in _ENDS}


def _is_whole(path: Path) -> bool:
    end = _ENDS[path.suffix]
    with open(path, "rb") as file:
        file.seek(-min(len(end), path.stat().st_size), os.SEEK_END)
        return file.read() == end


def _take_back(table, version: int) -> None:
    """Make this version the newest again."""
    try:
        table.restore(version)
    except RuntimeError:  # no room for that either: remove what makes the versions after it
        table.checkout(version)
        folder = Path(table.uri) / "_versions"
        for newer in folder.glob("*.manifest"):
            if 2**64 - 1 - int(newer.stem) > version:
                newer.unlink()
        (folder / "latest_version_hint.json").unlink(missing_ok=True)
        table.checkout_latest()
