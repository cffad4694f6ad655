"""Power cuts: what a commit names is on the disk before the commit is, and the commit before anybody builds on it.

LanceDB leaves that to the system, which writes in its own order, within half a minute or so.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from depcli.system.atomic import to_disk

_TOGETHER = 16
_NO_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # of network file systems that cannot flush a folder
_TEMPORARY = re.compile(r"\.tmp|.*#\d+$")  # of LanceDB: what becomes a whole file only by its last step
HINT = "latest_version_hint.json"  # of a table: LanceDB does without, but not with one of a version that was removed


class Disk:
    """Brings the files of a store folder to the disk, those that were there at the beginning excepted."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._seen = files_of(folder)
        self._folders = {Path(place) for place in map(os.path.dirname, self._seen)}
        self._thread = ThreadPoolExecutor(1)
        self._under_way: list[Future] = []

    def begin(self) -> None:
        """Begin with what was written since the last call. Nobody may be writing at this moment; afterwards they may."""
        files = files_of(self._folder)
        changed, self._seen = files ^ self._seen, files
        if changed:
            changed.update(str(hint) for hint in self._folder.glob(f"*.lance/_versions/{HINT}"))  # written again and again
            self._under_way.append(self._thread.submit(flush, changed, self._folder, self._folders))

    def finish(self) -> None:
        """All that was written is on the disk. Raises OSError."""
        self.begin()
        under_way, self._under_way = self._under_way, []
        for flushing in under_way:
            flushing.result()


def flush(files: Collection[str | Path], folder: Path, known: set[Path] | None = None) -> None:
    """Wait until these files below `folder` are on the disk, as they are or gone, with the names of all folders that lead to
    them, but those `known` to be there (which grow by these). Raises OSError."""
    known, folders = set() if known is None else known, set()
    for place in {Path(file).parent for file in files}:
        folders.add(place)
        while place != folder and place not in known:
            known.add(place)
            place = place.parent
            folders.add(place)
    with ThreadPoolExecutor(_TOGETHER) as threads:  # the system writes down many at once in the time of one
        list(threads.map(_flush, files))
        list(threads.map(_flush, folders))


def flush_new(folder: Path) -> None:
    """The same for all tables of a new store, and for the names of the folders around it."""
    flush(files_of(folder), folder)
    for place in (folder.parent, folder.resolve().parent.parent):
        _flush(place)


def _flush(path: str | Path) -> None:
    with suppress(FileNotFoundError):  # removed: its folder is flushed, and says so
        descriptor = os.open(path, os.O_RDONLY)
        try:
            to_disk(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDERS or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise
        finally:
            os.close(descriptor)


def files_of(folder: Path) -> set[str]:
    """Every file of the tables in this folder but temporary ones."""
    return {path for path in _all_files(folder) if not is_temporary(os.path.basename(path))}


def temporary_files(folder: Path) -> list[str]:
    """What a writer is about to finish in the tables of this folder, or was when it was killed: LanceDB never removes it."""
    return [path for path in _all_files(folder) if is_temporary(os.path.basename(path))]


def is_temporary(name: str) -> bool:
    """Whether a file of a table with this name is not to stay."""
    return _TEMPORARY.match(name) is not None


def _all_files(folder: Path) -> Iterator[str]:
    return (os.path.join(place, name) for table in folder.glob("*.lance") for place, _, names in os.walk(table) for name in names)
