"""The commit point: a batch is in the store when, and only when, its row stands in the commits table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from depcli.errors import DepError, Incompatible, NotFound
from depcli.records import EmbedderIdentity
from depcli.store.disk import lance
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import COMMITS, DATA_TABLES, FORMAT, schemas

DROPPED = "commits_dropped"  # in the counts of a commit: of how many earlier ones, the oldest that were left, it removed the data


@dataclass(frozen=True)
class Commit:
    """One state of the store. `versions` are the table versions that belong together; `created` is ISO 8601 in UTC; `action` is
    'create', 'ingest', 'forget', 'compact', 'repair' or 'recover'; `counts` says what changed."""

    number: int
    id: str
    created: str
    action: str
    source: str
    counts: Mapping[str, int]
    versions: Mapping[str, int]
    embedder: EmbedderIdentity
    format: int = FORMAT


def read(table) -> list[Commit]:
    """Every commit, oldest first. Raises Incompatible when a newer dep wrote one."""
    rows = table.search().limit(None).to_arrow().to_pylist()
    newest = max((row["format"] for row in rows), default=0)
    if newest > FORMAT:
        hint = "upgrade dep: pip install --upgrade depcli"
        raise Incompatible(f"this store has format {newest}, this dep reads up to {FORMAT}", hint)
    return [_commit(row) for row in sorted(rows, key=lambda row: row["number"])]


def of(folder: Path) -> list[Commit]:
    """Every commit of the store in this folder, oldest first; none when no store was finished here."""
    if not lance.manifests(folder, COMMITS):
        return []
    try:
        return read(lance.open_table(lance.connect(folder), COMMITS))
    except (OSError, RuntimeError, ValueError):  # a writer may have removed this version a moment ago: there is a newer one
        return read(lance.open_table(lance.connect(folder), COMMITS))


def readable(log: Sequence[Commit]) -> list[Commit]:
    """Those of all commits whose data are still there, oldest first: forgetting and compacting give up the oldest."""
    return list(log[sum(commit.counts.get(DROPPED, 0) for commit in log) :])


def check_nobody_forgotten(folder: Path, commit: Commit, log: Sequence[Commit]) -> None:
    """Raises NotFound when by the log of now people or items were forgotten after this commit, or the store is gone."""
    if commit not in log:
        raise NotFound(f"the store in {folder} is gone, or another one", "bring it back, or name another folder with --profiles")
    if any(later.action == "forget" and later.number > commit.number for later in log):
        message = f"somebody was forgotten since commit {commit.number} ({commit.id}), which is gone with them"
        raise NotFound(message, "run the command again on the newest commit; what it had begun to write needs another --out")


@contextmanager
def reading(folder: Path, commit: Commit) -> Iterator[None]:
    """storage_errors for who reads the tables of a commit: NotFound when its data are gone, perhaps since a moment ago: somebody
    was forgotten, or it was compacted."""
    try:
        with storage_errors(folder):
            yield
    except DepError as error:
        with storage_errors(folder):
            log = of(folder)
        if commit in readable(log):
            raise
        check_nobody_forgotten(folder, commit, log)
        raise gone(commit) from error


def gone(commit: Commit) -> NotFound:
    message = f"commit {commit.number} ({commit.id}) cannot be read any more: its data were erased or compacted away"
    return NotFound(message, "run the command again on the newest commit, or on one that `dep log` shows as readable")


def _commit(row: dict) -> Commit:
    return Commit(
        number=row["number"],
        id=row["id"],
        created=row["created"],
        action=row["action"],
        source=row["source"],
        counts=json.loads(row["counts"]),
        versions={name: row[f"{name}_version"] for name in DATA_TABLES},
        embedder=EmbedderIdentity(row["embedder"], row["revision"], row["dimension"], row["normalized"]),
        format=row["format"],
    )


def append(
    table,
    number: int,
    action: str,
    source: str,
    counts: Mapping[str, int],
    versions: Mapping[str, int],
    embedder: EmbedderIdentity,
) -> Commit:
    """Write the row that makes everything before it count. A `source` is a file name, which may hold bytes that no table can."""
    source = source.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    commit = Commit(number, uuid.uuid4().hex[:12], now, action, source, dict(counts), dict(versions), embedder)
    row = {
        "number": commit.number,
        "id": commit.id,
        "created": commit.created,
        "action": action,
        "source": source,
        "counts": json.dumps(commit.counts),
        **{f"{name}_version": version for name, version in versions.items()},
        "embedder": embedder.name,
        "revision": embedder.revision,
        "dimension": embedder.dimension,
        "normalized": embedder.normalized,
        "format": commit.format,
    }
    lance.add(table, [pa.Table.from_pylist([row], schema=schemas(embedder.dimension)[COMMITS])])
    return commit
