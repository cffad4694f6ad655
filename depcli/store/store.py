"""The store as a whole: make it, open it, read it at a commit, write to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import BadInput, Incompatible, NotFound
from depcli.records import EmbedderIdentity
from depcli.store import commits
from depcli.store.commits import Commit
from depcli.store.disk import durable, lance
from depcli.store.disk.failures import storage_errors
from depcli.store.disk.lock import LOCK, write_lock
from depcli.store.past import PastSnapshot
from depcli.store.schema import COMMITS, DATA_TABLES, INDEXED, REVIEWS, schemas
from depcli.store.snapshot import Snapshot
from depcli.store.upkeep import erase
from depcli.store.upkeep.rescue import Rescued, rescue
from depcli.store.writing.tables import Tables
from depcli.store.writing.writer import Writer
from depcli.system.permissions import private

_FOLDER = "store"


class Store:
    """The profile store in a profiles folder. Made by Store.open or Store.create, never directly."""

    def __init__(self, path: Path, embedder: EmbedderIdentity):
        self.path, self.embedder = path, embedder
        self.folder = path / _FOLDER
        self._db = lance.connect(self.folder)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """The store in the profiles folder `path`. Raises NotFound, or Incompatible when a newer dep made it."""
        path = Path(path)
        return cls(path, _finished(path)[-1].embedder)

    @classmethod
    def create(cls, path: str | Path, embedder: EmbedderIdentity) -> Store:
        """Make a store for this embedder, or open the one that is there. Raises Incompatible for another embedder's store."""
        path = Path(path)
        log = _log(path)
        if not log:
            folder = path / _FOLDER
            with storage_errors(path):
                with private():
                    folder.mkdir(parents=True, exist_ok=True)
                with write_lock(folder / LOCK):
                    log = _log(path)
                    if not log:
                        _refuse_orphans(folder)
                        log = [_make_tables(folder, embedder)]
        made_with = log[-1].embedder
        if made_with != embedder:
            raise Incompatible(
                f"the store in {path} was made with {made_with}, not with {embedder}",
                f"use --embedder {made_with.name}, or another folder with --profiles",
            )
        return cls(path, made_with)

    @staticmethod
    def rescue(path: str | Path, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Rescued:
        """Make a store in the profiles folder `path` open again, as far as that goes: see upkeep/rescue.py."""
        folder = Path(path) / _FOLDER
        if not folder.is_dir():
            return Rescued(0, False)
        with write_lock(folder / LOCK, wait=wait, on_wait=on_wait), storage_errors(folder):
            return rescue(folder)

    def log(self) -> list[Commit]:
        """Every commit, oldest first."""
        return _finished(self.path)

    def snapshot(self, at: str | None = None, *, as_of: float | None = None) -> Snapshot:
        """The store as the newest commit left it, or the commit with this id or number. With `as_of` (unix seconds) only the
        reviews up to that moment exist in it. Raises NotFound."""
        log = self.log()
        found = log[-1:] if at is None else [commit for commit in log if at in (commit.id, str(commit.number))]
        if not found:
            raise NotFound(f"no commit {at} in {self.path}", f"commits go from {log[0].number} to {log[-1].number}")
        if found[0] not in commits.readable(log):
            raise commits.gone(found[0])
        if as_of is not None:
            return PastSnapshot(self._db, self.folder, found[0], as_of)
        return Snapshot(self._db, self.folder, found[0])

    def readable(self, commit: Commit) -> bool:
        """Whether the commit's data are still there: forgetting and compacting give up the oldest commits."""
        return commit in commits.readable(self.log())

    @contextmanager
    def writer(self, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[Writer]:
        """The right to write, for one process at a time. See lock.write_lock for what happens while another has it.
        What a killed writer left uncommitted is undone first, and what a killed `forget` left on the disk goes."""
        with write_lock(self.folder / LOCK, wait=wait, on_wait=on_wait) as lock:
            tables = Tables(self._db, lock, self.embedder)
            erase.finish(tables)
            yield Writer(tables)


def _log(path: Path) -> list[Commit]:
    """The commits of the store in this profiles folder; none when there is no finished store."""
    with storage_errors(path):
        return commits.of(path / _FOLDER)


def _finished(path: Path) -> list[Commit]:
    log = _log(path)
    if not log:
        with storage_errors(path):
            _refuse_orphans(path / _FOLDER)
        raise NotFound(f"no profile store in {path}", f"make one: dep ingest FILE --profiles {path}")
    return log


def _refuse_orphans(folder: Path) -> None:
    """Reviews without a single commit are not the trace of a killed `create`: somebody lost the commit table."""
    if not lance.manifests(folder, REVIEWS):
        return
    reviews = lance.open_table(lance.connect(folder), REVIEWS).count_rows()
    if reviews:
        raise BadInput(
            f"the store in {folder} is damaged: {reviews:,} reviews, but no commit that they belong to",
            f"restore {folder / COMMITS}.lance from a backup, or move the folder away and ingest again",
        )


def _make_tables(folder: Path, embedder: EmbedderIdentity) -> Commit:
    db, wanted = lance.connect(folder), schemas(embedder.dimension)
    tables = {name: db.create_table(name, schema=wanted[name], mode="overwrite") for name in (*DATA_TABLES, COMMITS)}
    for name, columns in INDEXED.items():
        lance.add_indexes(tables[name], columns)
    versions = {name: tables[name].version for name in DATA_TABLES}
    durable.flush_new(folder)
    commit = commits.append(tables[COMMITS], 0, "create", "", {}, versions, embedder)
    durable.flush_new(folder)
    return commit
