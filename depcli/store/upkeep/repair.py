"""Mending what can be computed again: keys, text hashes, vectors, item sums and indexes, and one row where there are several.

The tables concerned are written anew from what they hold, and one commit makes that count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depcli.errors import DepError
from depcli.store import schema
from depcli.store.disk import lance
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import DATA_TABLES, INDEXED, ITEMS, REVIEWS, SUMS
from depcli.store.store import Store
from depcli.store.upkeep import erase, lineage, recompute
from depcli.store.upkeep.finding import Finding
from depcli.store.writing.tables import Tables
from depcli.system.interrupts import uninterrupted

_ROW = "_rowid"


def repair(
    store: Store,
    findings: Sequence[Finding],
    embedder: Callable[[], object],
    *,
    wait: bool = True,
    on_wait: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Mend these findings of check() as one commit; with none of them, only what a killed writer left is undone. Returns how
    many there were of what.

    Of several reviews of one user and item the newest stays. `embedder()` gives the store's embedder; it is called when a
    vector must be computed again: one that is no use, or that belongs to another text than the one beside it.
    """
    counts: dict[str, int] = {}
    for finding in findings:
        if not finding.remedy and finding.what != lineage.ERASING:  # which every writer finishes first
            counts[finding.what] = counts.get(finding.what, 0) + finding.count
    with store.writer(wait, on_wait) as writer, storage_errors(store.folder), uninterrupted():
        if counts:
            _mend(writer.tables, counts, embedder)
            writer.tables.commit("repair", "", counts)
    return counts


def _mend(tables: Tables, what: Collection[str], embedder: Callable[[], object]) -> None:
    """Write anew what the named parts of check() touch: the sums follow the reviews."""
    mends_reviews = not {"review keys", "text hashes", "vectors", "reviews"}.isdisjoint(what)
    if mends_reviews:
        made_by = embedder() if "vectors" in what or "text hashes" in what else None
        erase.rewrite(tables, REVIEWS, _mended(tables, _repeated_reviews(tables[REVIEWS]), made_by))
    if mends_reviews or not {"item sums", SUMS}.isdisjoint(what):
        erase.rewrite(tables, SUMS, recompute.sum_rows(tables[REVIEWS], tables.embedder.dimension))
    if "items" in what:
        erase.rewrite(tables, ITEMS, _without(tables[ITEMS], _repeated_items(tables[ITEMS])))
    if "indexes" in what:
        for name in DATA_TABLES:
            lance.add_indexes(tables[name], INDEXED[name])


def _repeated_reviews(table) -> np.ndarray:
    """The row ids (n,) uint64 of all but the newest review of each user and item."""
    keys, times, ids = [], [], []
    for rows in lance.scan(table, ("user_id", "asin", "timestamp"), row_ids=True):
        keys.append(np.frombuffer(b"".join(recompute.keys(rows)), "V16"))
        times.append(pc.fill_null(rows.column("timestamp"), -np.inf).to_numpy())
        ids.append(rows.column(_ROW).to_numpy())
    if not keys:
        return np.empty(0, np.uint64)
    ids, of = np.concatenate(ids), np.unique(np.concatenate(keys), return_inverse=True)[1]
    order = np.lexsort((ids, np.concatenate(times), of))
    return ids[order[:-1][np.diff(of[order]) == 0]]


def _repeated_items(table) -> np.ndarray:
    """The row ids (n,) uint64 of all but the last description of each item."""
    newest: dict[str, int] = {}
    repeated = []
    for rows in lance.scan(table, ("asin",), row_ids=True):
        for asin, row in zip(rows.column("asin").to_pylist(), rows.column(_ROW).to_pylist(), strict=True):
            if asin in newest:
                repeated.append(min(row, newest[asin]))
            newest[asin] = max(row, newest.get(asin, row))
    return np.array(repeated, np.uint64)


def _without(table, leaving: np.ndarray) -> Iterator[pa.Table]:
    """Every row but those with these ids."""
    for rows in lance.scan(table, table.schema.names, row_ids=True):
        stays = ~np.isin(rows.column(_ROW).to_numpy(), leaving)
        yield rows.filter(pa.array(stays)).drop_columns([_ROW])


def _mended(tables: Tables, leaving: np.ndarray, embedder) -> Iterator[pa.Table]:
    """The reviews without those with the row ids `leaving`, each with its right key, text hash and vector."""
    identity = tables.embedder
    for rows in _without(tables[REVIEWS], leaving):
        hashes, vectors = recompute.text_hashes(rows), schema.matrix(rows, "vector").copy()
        of_other_text = recompute.differ(rows, "text_hash", hashes)
        bad = np.flatnonzero(of_other_text | ~recompute.usable(vectors, identity.normalized))
        if len(bad):
            vectors[bad] = embedder.encode(rows.column("text").take(bad).to_pylist())
            if not recompute.usable(vectors[bad], identity.normalized).all():
                raise DepError(f"the embedder {identity.name} returned vectors that are no use", "nothing was changed")
        rows = _with(rows, "key", pa.array(recompute.keys(rows)))
        rows = _with(rows, "text_hash", pa.array(hashes))
        yield _with(rows, "vector", pa.FixedSizeListArray.from_arrays(vectors.ravel(), identity.dimension))


def _with(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    field = rows.schema.field(column)
    return rows.set_column(rows.schema.get_field_index(column), field, values.cast(field.type))
