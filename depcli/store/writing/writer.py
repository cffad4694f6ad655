"""Writing: a batch of reviews, items and item sums, and then the one row that commits it.

All of it runs under the store's write lock, so what is looked up stays true until it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from operator import add

import numpy as np
import pyarrow as pa

from depcli.records import Item, Review
from depcli.store import schema
from depcli.store.commits import Commit
from depcli.store.disk import lance, pieces
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import DATA_TABLES, ITEMS, REVIEWS, SUMS
from depcli.store.writing.batch import Batch, Version
from depcli.store.writing.changes import Changes
from depcli.store.writing.known import Known
from depcli.store.writing.sums import RunningSums
from depcli.store.writing.tables import Tables
from depcli.system.interrupts import uninterrupted  # LanceDB would go on writing in its own thread while the lock is dropped

_SPARE_PIECES, _SPARE_ROWS = 16, 20_000  # so many small pieces, and rows without index, slow nobody down


@dataclass(frozen=True)
class Counts:
    """What batches did: reviews new to the store, reviews that replaced an earlier version, reviews read that are there as they
    are or are `outdated` by another version, and items described for the first time or anew."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    outdated: int = 0
    items: int = 0

    @property
    def reviews(self) -> int:
        return self.added + self.replaced + self.unchanged + self.outdated

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(add, astuple(self), astuple(other)))

    def __bool__(self) -> bool:
        return any(astuple(self))


class Writer:
    """The one process that may write. Get it from Store.writer()."""

    def __init__(self, tables: Tables):
        self.tables = tables
        self._folder, self._dimension = tables.folder, tables.embedder.dimension
        self._keys, self._texts = Known(tables[REVIEWS], "key"), Known(tables[REVIEWS], "text_hash")
        self._items = Known(tables[ITEMS], "asin")
        self._sums = RunningSums(tables[SUMS], self._dimension)
        self._pending = Counts()  # of what is written and does not count yet

    @property
    def head(self) -> Commit:
        """The newest commit."""
        return self.tables.head

    def upsert(self, reviews: Sequence[Review], vectors: np.ndarray, items: Sequence[Item] = (), *, source: str) -> Counts:
        """Write one batch with the vectors (n, d) float32 of its texts, as one commit. A text that the store holds already for
        the same user and item keeps the vector it has. Without any change there is no commit."""
        batch = self.batch()
        batch.add(reviews)
        batch.vectors.add(schema.text_hashes(review.text for review in reviews), vectors)
        return self.commit(batch, items, source=source)

    def batch(self, before: Batch | None = None) -> Batch:
        """An empty batch, for filling step by step before commit(). It may be filled in another thread than the one that commits
        the batch `before`; it must not be committed earlier. Without `before` nothing else may be on its way."""
        if before is None and not self._pending:  # what an earlier commit that failed left half-written must not be looked up
            with storage_errors(self._folder), uninterrupted():
                self.tables.roll_back()
        return Batch(self._versions, self._dimension, before)

    def reuse_vectors(self, batch: Batch) -> None:
        """Give the batch the vectors of texts that the store knows under other users or items."""
        with storage_errors(self._folder):
            if hashes := self._texts.possible(batch.missing()):
                rows = lance.rows(self.tables[REVIEWS], "text_hash", hashes, ("text_hash", "vector"))
                batch.vectors.add(rows.column("text_hash").to_pylist(), schema.matrix(rows, "vector"))

    def prepare(self, batch: Batch) -> Changes:
        """The part of commit() that may be done while the batch before is being written."""
        return Changes(batch.changed(), batch.vectors)

    def commit(
        self, batch: Batch, items: Sequence[Item] = (), *, source: str, prepared: Changes | None = None, more: bool = False
    ) -> Counts:
        """Write what the batch changes, and make it count. Every text in batch.missing() must have got its vector.

        With `more` it may wait for a later commit() or finish() to make it count, so that the item sums are not written with
        every batch. Returns what counts now and did not before. After an error all that did not count is undone."""
        with self._all_or_nothing():
            changes, new_items = prepared or self.prepare(batch), self._changed_items(items)
            replaced = len(changes.replacing)
            unchanged = batch.read - len(changes.keys) - batch.outdated
            self._pending += Counts(len(changes.keys) - replaced, replaced, unchanged, batch.outdated, len(new_items))
            if new_items:
                self._write_items(new_items)
            if changes.replacing:
                found = lance.rows(self.tables[REVIEWS], "key", changes.replacing, ("key", "vector"))
                changes.replace(dict(zip(found.column("key").to_pylist(), schema.matrix(found, "vector"), strict=True)))
            with ThreadPoolExecutor(1) as beside:  # LanceDB writes one table with hardly more than one core
                summed_up = beside.submit(self._add_up, changes, more)
                if changes.keys:
                    self._write_reviews(changes)
            if summed_up.result():
                return self._count(source)
            self.tables.disk.begin()
            return Counts()

    def finish(self, source: str) -> Counts:
        """Make count what earlier commits left for later, if any. Returns what counts now and did not before."""
        if not self._pending:
            return Counts()
        with self._all_or_nothing():
            self._write_sums()
            return self._count(source)

    def tidy(self, *, force: bool = False) -> None:
        """Join the small pieces that writes leave and bring indexes up to date, where there are enough of them to matter
        (with `force`: wherever there is anything to do)."""
        self._tidy(1 if force else _SPARE_PIECES, 0 if force else _SPARE_ROWS)

    def join_pieces(self) -> None:
        """The part of tidy() that should not wait for the end of a long run."""
        self._tidy(_SPARE_PIECES, None)

    def _tidy(self, spare_pieces: int, spare_rows: int | None) -> None:
        with storage_errors(self._folder), uninterrupted():
            self.tables.roll_back()
            for table in (self.tables[name] for name in DATA_TABLES):
                pieces.join(table, spare_pieces)
                if spare_rows is not None and lance.unindexed_rows(table) > spare_rows:
                    lance.index_anew(table)
            if self.tables.changed:
                self.tables.commit("compact", "", {})
            if lance.fragments(self.tables.commits) > spare_pieces:
                lance.optimize(self.tables.commits)  # it is never rolled back, so this has to be one step
                self.tables.disk.finish()

    def _versions(self, keys: Sequence[bytes]) -> dict[bytes, Version]:
        columns = ("key", "user_id", "asin", "rating", "title", "timestamp", "text_hash", "superseded")
        with storage_errors(self._folder):
            possible = self._keys.possible(keys)
            rows = lance.rows(self.tables[REVIEWS], "key", possible, columns).to_pylist() if possible else []
        return {row["key"]: _stored_version(row) for row in rows}

    def _changed_items(self, items: Sequence[Item]) -> dict[str, Item]:
        latest: dict[str, Item] = {}
        asins = self._items.possible({item.asin for item in items})
        stored = schema.items_of(lance.rows(self.tables[ITEMS], "asin", asins, schema.ITEM_COLUMNS))
        for item in items:  # an empty field takes nothing away
            before = latest.get(item.asin) or stored.get(item.asin) or item
            latest[item.asin] = Item(
                item.asin, item.title or before.title, item.description or before.description, item.task or before.task
            )
        return {asin: item for asin, item in latest.items() if stored.get(asin) != item}

    def _write_items(self, items: Mapping[str, Item]) -> None:
        self._replace(ITEMS, "asin", self._items.possible(items), [schema.item_rows(items.values())])
        self._items.add(list(items))

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        with storage_errors(self._folder), uninterrupted():
            if not self._pending:
                self.tables.roll_back()  # an earlier commit of this writer may have failed half-way
            try:
                yield
            except BaseException:
                self._pending = Counts()
                self._sums.forget()
                raise

    def _count(self, source: str) -> Counts:
        """Make all count that was written since the last commit."""
        done, self._pending = self._pending, Counts()
        if done.added or done.replaced or done.items:
            self.tables.commit("ingest", source, asdict(done))
        return done

    def _write_reviews(self, changes: Changes) -> None:
        self._replace(REVIEWS, "key", changes.replacing, changes.rows())
        self._keys.add(changes.keys)
        self._texts.add(changes.texts)

    def _add_up(self, changes: Changes, more: bool) -> bool:
        """Bring the sums up to date, and write them unless there is more to come. Returns whether they were written."""
        self._sums.add(changes)
        if more and not self._sums.full:
            return False
        self._write_sums()
        return True

    def _write_sums(self) -> None:
        stored, rows = self._sums.rows()
        if self._sums.changed:
            self._replace(SUMS, "asin", stored, rows)
        self._sums.written()

    def _replace(self, name: str, column: str, values: Sequence[str | bytes], rows: pa.Table | Iterable[pa.Table]) -> None:
        lance.delete(self.tables[name], column, values)
        lance.add(self.tables[name], rows)


def _stored_version(row: dict) -> Version:
    review = Review(row["user_id"], row["asin"], "", row["rating"], row["title"], row["timestamp"])
    return Version(review, row["text_hash"], tuple(row["superseded"] or ()), row["text_hash"], stored=True)
