"""Are the commits and the table versions that they name all there? And what did a killed writer leave behind?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from depcli.store.commits import Commit, of, readable
from depcli.store.disk import lance
from depcli.store.disk.durable import temporary_files
from depcli.store.disk.lock import LOCK
from depcli.store.disk.whole import hinted_version
from depcli.store.schema import COMMITS, DATA_TABLES
from depcli.store.upkeep import erase
from depcli.store.upkeep.finding import BACKUP, Finding
from depcli.system.lock import is_held

ERASING = "erasing"  # what a killed `dep forget` left to do


def check(folder: Path, log: Sequence[Commit]) -> tuple[list[Finding], list[str], int]:
    """(findings, notes, how many table versions there are) of the store in `folder`, whose commits are `log`."""
    written = {name: hinted_version(folder / f"{name}.lance") for name in (*DATA_TABLES, COMMITS)}
    db = lance.connect(folder)
    there = {name: lance.versions(lance.open_table(db, name)) for name in written}
    findings, notes = [*_commits(log), *_versions(log, there)], []
    if is_held(folder / LOCK) or of(folder)[-1] != log[-1]:
        notes.append("a writer is at work: what it has not committed is not part of this")
    else:
        findings += [*_lost(log[-1], there[COMMITS], written[COMMITS]), *_unfinished(folder)]
        notes += _leftovers(folder, log[-1], there)
    return findings, notes, sum(map(len, there.values()))


def _commits(log: Sequence[Commit]) -> list[Finding]:
    """The numbers go up by one, and no commit goes back to older tables."""
    findings = []
    numbers = [commit.number for commit in log]
    missing = sorted(set(range(numbers[-1] + 1)) - set(numbers))
    if missing:
        findings.append(Finding("commits", f"missing: {_listed(missing)}", len(missing), BACKUP))
    if repeated := len(numbers) - len(set(numbers)):
        findings.append(Finding("commits", "one more commit with the same number", repeated, BACKUP))
    left = readable(log)
    backwards = [
        after.number
        for before, after in zip(left, left[1:], strict=False)
        if any(after.versions[name] < before.versions[name] for name in DATA_TABLES) or after.embedder != before.embedder
    ]
    if backwards:
        message = f"names older tables than the one before it, or another embedder: {_listed(backwards)}"
        findings.append(Finding("commits", message, len(backwards), BACKUP))
    return findings


def _versions(log: Sequence[Commit], there: Mapping[str, Sequence[int]]) -> list[Finding]:
    """Every commit whose data were not given up still has the table versions that it names."""
    findings = []
    for name in DATA_TABLES:
        versions = set(there[name])
        gone = [commit.number for commit in readable(log) if commit.versions[name] not in versions]
        if gone:
            message = f"{name} as of these commits is gone: {_listed(gone)}"
            remedy = BACKUP if log[-1].number in gone else "the newest commit is whole; dep compact --keep 0 gives these up"
            findings.append(Finding("table versions", message, len(gone), remedy))
    return findings


def _unfinished(folder: Path) -> list[Finding]:
    message = "a dep forget was killed before its end: what it removed may still be on the disk"
    return [Finding(ERASING, message)] if erase.unfinished(folder) else []


def _lost(head: Commit, there: Sequence[int], written: int) -> list[Finding]:
    """LanceDB notes the newest version of a table beside it: when that one is gone, so are the commits in it."""
    if written <= there[-1]:
        return []
    message = f"the newest are lost (version {written} of the table was written): the store shows commit {head.number}"
    remedy = "restore a backup, or run again what was done after that commit (dep log shows it)"
    return [Finding("commits", message, written - there[-1], remedy)]


def _leftovers(folder: Path, head: Commit, there: Mapping[str, Sequence[int]]) -> list[str]:
    """What the next writer undoes, and what compacting removes."""
    notes = []
    newer = {name: versions[-1] - head.versions[name] for name, versions in there.items() if name in head.versions}
    if any(newer.values()):
        names = ", ".join(name for name, count in newer.items() if count)
        notes.append(f"{names}: written to after the newest commit by a writer that was killed; the next one undoes it")
    if files := len(temporary_files(folder)):
        notes.append(f"temporary files of a writer that was killed ({files:,}): dep compact removes them")
    return notes


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
