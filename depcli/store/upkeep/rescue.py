"""Opening a store again that a power cut left unopenable, or that lost its item sums.

A commit is on the disk before anything is built on it (disk/durable.py), so what a power cut can leave cut short is what came
after: versions that no commit names, and at most the commit that was being written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from depcli.store import commits
from depcli.store.commits import DROPPED, Commit
from depcli.store.disk import durable, lance
from depcli.store.disk.whole import remove_versions, undo_cut, version_of
from depcli.store.schema import COMMITS, INDEXED, REVIEWS, SUMS, schemas
from depcli.store.upkeep import recompute

_WRITTEN_AT_ONCE = 10  # versions of the commits table that may be on their way to the disk: a commit, and joining earlier ones


@dataclass(frozen=True)
class Rescued:
    """How many versions of tables were given up, since nobody can open them, and whether the item sums were made anew, which
    gives up all commits before."""

    versions: int
    sums: bool


def rescue(folder: Path) -> Rescued:
    """Give up what cannot be read of the newest writes to the store in `folder`, and add up the item sums again when they are
    not there any more. Nobody else may be writing."""
    undone = sum(map(undo_cut, sorted(folder.glob("*.lance"))))
    undone += _undo_unreadable_commits(folder)
    log = commits.of(folder)
    lost = bool(log) and log[-1].versions[SUMS] not in map(version_of, _manifests(folder, SUMS))
    if lost:
        _remake_sums(folder, log)
    return Rescued(undone, lost)


def _undo_unreadable_commits(folder: Path) -> int:
    """Remove the newest versions of the commits table up to one that can be read, if a power cut can have left as many."""
    there = sorted(_manifests(folder, COMMITS), key=version_of, reverse=True)
    table = folder / f"{COMMITS}.lance"
    if not there or _is_readable(table, there[0]):
        return 0
    for undone, manifest in enumerate(there[1 : _WRITTEN_AT_ONCE + 1], start=1):
        if _is_readable(table, manifest):
            return remove_versions(there[:undone])
    return 0


def _is_readable(table: Path, manifest: Path) -> bool:
    try:
        commits.read(lance.open_table(lance.connect(table.parent), table.stem, version_of(manifest)))
    except (OSError, RuntimeError, ValueError):
        return False
    return True


def _manifests(folder: Path, name: str) -> list[Path]:
    return list((folder / f"{name}.lance" / "_versions").glob("*.manifest"))


def _remake_sums(folder: Path, log: list[Commit]) -> None:
    """Make the table anew from the reviews of the newest commit, and commit that. Earlier commits cannot be read any more."""
    head, db = log[-1], lance.connect(folder)
    reviews = lance.open_table(db, REVIEWS, head.versions[REVIEWS])
    shutil.rmtree(folder / f"{SUMS}.lance", ignore_errors=True)
    dimension = head.embedder.dimension
    table = db.create_table(SUMS, schema=schemas(dimension)[SUMS])
    lance.rewrite(table, recompute.sum_rows(reviews, dimension), INDEXED[SUMS])
    durable.flush_new(folder)
    counts = {SUMS: 1, DROPPED: len(commits.readable(log))}
    versions = {**head.versions, SUMS: table.version}
    commits.append(lance.open_table(db, COMMITS), head.number + 1, "repair", "", counts, versions, head.embedder)
    durable.flush_new(folder)
