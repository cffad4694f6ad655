"""The commit point: a batch is in the store when, and only when, its row stands in the commits table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from depcli.errors import Incompatible
from depcli.records import EmbedderIdentity
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


def readable(log: Sequence[Commit]) -> list[Commit]:
    """Those of all commits whose data are still there, oldest first: forgetting and compacting give up the oldest."""
    return list(log[sum(commit.counts.get(DROPPED, 0) for commit in log) :])


def _commit(row: dict) -> Commit:
    return Commit(
        number=row["number"], id=row["id"], created=row["created"], action=row["action"], source=row["source"],
        counts=json.loads(row["counts"]), versions={name: row[f"{name}_version"] for name in DATA_TABLES},
        embedder=EmbedderIdentity(row["embedder"], row["revision"], row["dimension"], row["normalized"]), format=row["format"],
    )  # fmt: skip


def append(
    table, number: int, action: str, source: str, counts: Mapping[str, int], versions: Mapping[str, int],
    embedder: EmbedderIdentity,
) -> Commit:  # fmt: skip
    """Write the row that makes everything before it count."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    commit = Commit(number, uuid.uuid4().hex[:12], now, action, source, dict(counts), dict(versions), embedder)
    row = {
        "number": commit.number, "id": commit.id, "created": commit.created, "action": action, "source": source,
        "counts": json.dumps(commit.counts), **{f"{name}_version": version for name, version in versions.items()},
        "embedder": embedder.name, "revision": embedder.revision, "dimension": embedder.dimension,
        "normalized": embedder.normalized, "format": commit.format,
    }  # fmt: skip
    table.add(pa.Table.from_pylist([row], schema=schemas(embedder.dimension)[COMMITS]))
    return commit
