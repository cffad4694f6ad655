"""A copy of a profiles folder while others may write to it: all readable commits up to the newest, and the files beside them.

The files of a table never change once they are there, and only forgetting and compacting remove any, after a commit that
says so. So it is enough to copy the commits first, then what they name, and to start over when such a commit came meanwhile.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from depcli.errors import DepError, StoreBusy
from depcli.store import commits
from depcli.store.commits import Commit
from depcli.store.disk.durable import is_temporary
from depcli.store.disk.whole import version_of
from depcli.store.schema import COMMITS, DATA_TABLES
from depcli.store.store import Store
from depcli.store.upkeep import erase
from depcli.system.permissions import make_private, private

_TRIES = 5


@dataclass(frozen=True)
class BackedUp:
    """The newest commit in the copy, what the copy holds, and its size in bytes."""

    commit: Commit
    counts: dict[str, int]
    bytes: int


def backup(
    store: Store,
    destination: Path,
    beside: tuple[str, ...] = (),
    *,
    on_wait: Callable[[str], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> BackedUp:
    """Copy the store, and the folders named in `beside`, into a new profiles folder, which appears when it is whole.

    Writing goes on meanwhile; only the end of a forgetting is waited for (`on_wait` gets the process id of the writer), so that
    nothing forgotten is copied. `on_progress` gets the bytes copied so far. Raises DepError when `destination` is there already
    or lies within the profiles folder, StoreBusy when the store is compacted again and again meanwhile.
    """
    copier = _Copier(on_progress)
    with _new_folder(destination, store.path) as folder:
        log = _copy_store(copier, store, folder / store.folder.name, on_wait)
        for name in beside:
            for source in files_below(store.path / name):
                copier.copy(source, folder / source.relative_to(store.path))
        make_private(folder)
        try:
            counts = Store.open(folder).snapshot().counts()
        except DepError as error:
            hint = f"look at what was to be copied: dep check --profiles {store.path}"
            raise DepError(f"the copy of {store.path} cannot be read: {error.message}", hint) from error
        os.sync()
    return BackedUp(log[-1], counts, copier.bytes)


@contextmanager
def _new_folder(destination: Path, profiles: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `destination` when the block ends well, and is gone otherwise. (After a kill it is
    there for everybody to see: it holds what people wrote.)"""
    if os.path.lexists(destination):
        raise DepError(f"{destination} is there already: a backup overwrites nothing", "name a folder that is not there yet")
    if profiles.resolve() in destination.resolve().parents:
        raise DepError(f"{destination} lies within {profiles}, which it shall be a copy of", "name a folder outside it")
    with _copying_errors(profiles, destination), private():
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f"{destination.name[:100]}.unfinished-"))
        try:
            yield temporary
            temporary.rename(destination)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextmanager
def _copying_errors(profiles: Path, destination: Path) -> Iterator[None]:
    """Raise a DepError for what a disk can do to a copy."""
    try:
        yield
    except OSError as error:
        hint = "make room or give access there, or name another place: of this copy nothing is left"
        raise DepError(f"cannot copy {profiles} to {destination}: {error.strerror or error}", hint) from error


def _copy_store(copier: _Copier, store: Store, target: Path, on_wait: Callable[[str], None] | None) -> list[Commit]:
    """Copy the four tables as of one commit: the log up to it."""
    for _ in range(_TRIES):
        shutil.rmtree(target, ignore_errors=True)
        copier.bytes = 0
        copier.table(store.folder / f"{COMMITS}.lance", target)
        try:
            log = commits.of(target)
        except (OSError, RuntimeError, ValueError):  # the table was compacted in the middle of the copy
            continue
        if erase.unfinished(store.folder):
            with store.writer(on_wait=on_wait):  # which finishes it
                continue
        for name in DATA_TABLES:
            copier.table(store.folder / f"{name}.lance", target, log[-1].versions[name])
        if commits.readable(store.log())[0] == commits.readable(log)[0]:
            return log
    raise StoreBusy(f"{store.folder} was compacted each time it was copied", "run the same command again")


class _Copier:
    """Copies files, and counts the bytes."""

    def __init__(self, on_progress: Callable[[int], None] | None):
        self._on_progress = on_progress
        self.bytes = 0

    def table(self, source: Path, target: Path, newest: int | None = None) -> None:
        """Copy one table into the folder `target`: its versions up to `newest` (None: all) first, then what they may need, so
        that all of it is there whatever is added meanwhile."""
        versions = [path for path in (source / "_versions").glob("*.manifest") if newest is None or version_of(path) <= newest]
        for path in (*versions, *_needed(source)):
            self.copy(path, target / path.relative_to(source.parent))

    def copy(self, source: Path, target: Path) -> None:
        """Copy one file, if it is still there: temporary files come and go, and versions that no commit needs do too."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copy2(source, target)
            self.bytes += target.stat().st_size
            if self._on_progress is not None:
                self._on_progress(self.bytes)


def _needed(table: Path) -> Iterator[Path]:
    """What the versions of a table may need: every file but these themselves and LanceDB's temporary ones."""
    return (path for path in files_below(table) if path.parent.name != "_versions" and not is_temporary(path.name))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file; a linked folder counts as if it were here, but not one that leads back to where it is."""
    for place, folders, names in os.walk(folder, followlinks=True):
        above = {os.path.realpath(path) for path in (Path(place), *Path(place).parents) if path.is_relative_to(folder)}
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(place, name)) not in above]
        yield from (Path(place, name) for name in names)
