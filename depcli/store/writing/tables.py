"""The tables in the hands of the one process that may write: what it changes counts from the commit row on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from depcli.records import EmbedderIdentity
from depcli.store import commits
from depcli.store.commits import Commit
from depcli.store.disk import lance
from depcli.store.disk.durable import Disk, files_of
from depcli.store.disk.failures import storage_errors
from depcli.store.disk.lock import confirm
from depcli.store.disk.whole import remove_versions, undo_cut
from depcli.store.schema import COMMITS, DATA_TABLES
from depcli.system.lock import Lock


class Tables:
    """The four tables, open for writing under the write `lock`, and every commit so far (`log`, oldest first). What a killed
    writer left uncommitted is undone first."""

    def __init__(self, db, lock: Lock, embedder: EmbedderIdentity):
        self.folder, self.embedder, self._lock = lock.path.parent, embedder, lock
        with storage_errors(self.folder):
            self.disk = Disk(self.folder)
            self.commits = lance.open_table(db, COMMITS)
            self.log: list[Commit] = commits.read(self.commits)
            for name in DATA_TABLES:
                undo_cut(self.folder / f"{name}.lance", after=self.head.versions[name])  # a power cut may leave them
            self._data = {name: lance.open_table(db, name) for name in DATA_TABLES}
            self.roll_back()

    def __getitem__(self, name: str):
        """One of the tables that commits speak of."""
        return self._data[name]

    @property
    def all(self) -> tuple:
        return (*self._data.values(), self.commits)

    @property
    def head(self) -> Commit:
        """The newest commit."""
        return self.log[-1]

    @property
    def changed(self) -> bool:
        """Whether something was written since the newest commit."""
        return self._versions() != self.head.versions

    def commit(self, action: str, source: str, counts: Mapping[str, int]) -> None:
        """Make the tables as they are now the newest commit, on the disk when this returns. Raises DepError when the folder was
        moved away meanwhile."""
        confirm(self._lock)
        self.disk.finish()  # before the commit, which must not outlive what it names
        number = self.head.number + 1
        self.log.append(commits.append(self.commits, number, action, source, counts, self._versions(), self.embedder))
        self.disk.finish()

    def roll_back(self) -> None:
        """Undo what was written and not committed. Every change begins with this, so a folder that was moved away is noticed
        here (DepError)."""
        confirm(self._lock)
        stray = [name for name, version in self._versions().items() if version != self.head.versions[name]]
        for name in stray:
            self._data[name].restore(self.head.versions[name])
        if stray:
            lance.remove_temporary_files(self.folder)
            self.commit("recover", "", {})

    @contextmanager
    def nothing_left(self) -> Iterator[None]:
        """What the block writes is gone again, files and all, where it fails: a disk that is full gets its room back."""
        before = files_of(self.folder)
        try:
            yield
        except BaseException:
            written = sorted(Path(path) for path in files_of(self.folder) - before)
            for folder in self.folder.glob("*.lance/_versions"):
                remove_versions([path for path in written if path.parent == folder and path.suffix == ".manifest"])
            for path in written:
                path.unlink(missing_ok=True)
            lance.remove_temporary_files(self.folder)
            for table in self.all:
                table.checkout_latest()
            raise

    def settle(self) -> None:
        """Join pieces and bring indexes up to date until another pass would change nothing. Not committed."""
        for table in self._data.values():
            lance.settle(table)
        self.settle_commits()

    def settle_commits(self) -> None:
        """The same for the commits, on the disk when this returns: what is pruned next must not be needed any more."""
        lance.settle(self.commits)
        self.disk.finish()

    def _versions(self) -> dict[str, int]:
        return {name: table.version for name, table in self._data.items()}
