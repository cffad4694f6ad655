"""Giving space back: pieces joined, indexes current, and old versions gone that nobody needs any more.

A commit needs one version of each table, perhaps an old one: items that nobody described for a year are as they were then.
So what is dropped is decided by commit, and per table everything goes that is older than the oldest version still needed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from depcli.store import commits
from depcli.store.commits import Commit
from depcli.store.disk import lance
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import DATA_TABLES
from depcli.store.writing.tables import Tables
from depcli.system.interrupts import uninterrupted
from depcli.system.permissions import make_private

KEEP_DAYS = 7.0
_MOST_DAYS = 36_500.0  # no commit is older, and no calendar goes back for ever


@dataclass(frozen=True)
class Compacted:
    """Size on disk before and after, how many earlier commits cannot be read any more, and how many commits can."""

    bytes_before: int
    bytes_after: int
    dropped: int
    readable: int


def compact(tables: Tables, keep_days: float = KEEP_DAYS, needed: Collection[str] = ()) -> Compacted:
    """Join, index, and drop what no commit of the last `keep_days` days needs, nor one from the oldest of `needed` (commit
    ids) on. The newest commit stays, however old. With 0 days and nothing needed, it alone."""
    keep_days = min(keep_days, _MOST_DAYS)
    with storage_errors(tables.folder), uninterrupted():
        before = _size(tables.folder)
        tables.roll_back()
        with tables.nothing_left():
            tables.settle()
        dropped = _outdated(commits.readable(tables.log), keep_days, needed)
        if not tables.changed and dropped == [tables.head]:
            dropped = []
        if tables.changed or dropped:
            tables.commit("compact", "", {commits.DROPPED: len(dropped)} if dropped else {})
        left = commits.readable(tables.log)
        tables.settle_commits()
        for name in DATA_TABLES:
            lance.prune(tables[name], left[0].versions[name])
        # No commit needs old versions of this one, but a reader may have one open.
        lance.prune(tables.commits, _oldest(tables.commits, keep_days))
        lance.remove_temporary_files(tables.folder)
        make_private(tables.folder)
        tables.disk.finish()
    return Compacted(before, _size(tables.folder), len(dropped), len(left))


def drop_outdated(tables: Tables, needed: Collection[str]) -> None:
    """compact(), where it would drop commits. Where not, it would only copy rows to join pieces that are large enough."""
    if _outdated(commits.readable(tables.log), KEEP_DAYS, needed):
        compact(tables, needed=needed)


def _outdated(log: list[Commit], keep_days: float, needed: Collection[str]) -> list[Commit]:
    """The oldest commits, up to the first that is recent or needed."""
    since = _since(keep_days)
    stays = (n for n, commit in enumerate(log) if datetime.fromisoformat(commit.created) > since or commit.id in needed)
    return log[: next(stays, len(log))]


def _oldest(table, keep_days: float) -> int:
    """The oldest version of the last `keep_days` days, or the newest."""
    since = _since(keep_days).timestamp()
    return min((version for version, made in lance.version_times(table).items() if made > since), default=table.version)


def _since(keep_days: float) -> datetime:
    """What was made later is recent; with 0 days nothing is, whatever clock it was dated by."""
    return datetime.now(UTC) - timedelta(days=keep_days) if keep_days else datetime.max.replace(tzinfo=UTC)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
