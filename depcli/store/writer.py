"""Writing: a batch of reviews, items and item sums, and then the one row that commits it.

All of it runs under the store's write lock, so what is looked up stays true until it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from depcli.errors import DepError
from depcli.interrupts import uninterrupted  # LanceDB would go on writing in its own thread while the lock is dropped
from depcli.records import Item, Review
from depcli.store import lance, schema
from depcli.store.batch import Batch, Version
from depcli.store.commits import Commit
from depcli.store.failures import storage_errors
from depcli.store.schema import ITEMS, REVIEWS, SUMS
from depcli.store.tables import Tables


@dataclass(frozen=True)
class Counts:
    """What a batch did: reviews new to the store, reviews that replaced an earlier version, reviews read that changed nothing
    (known, or older than what is there), and items described for the first time or anew."""

    added: int
    replaced: int
    unchanged: int
    items: int


class Writer:
    """The one process that may write. Get it from Store.writer()."""

    def __init__(self, tables: Tables):
        self.tables = tables
        self._folder, self._dimension = tables.folder, tables.embedder.dimension

    @property
    def head(self) -> Commit:
        """The newest commit."""
        return self.tables.head

    def upsert(self, reviews: Sequence[Review], vectors: np.ndarray, items: Sequence[Item] = (), *, source: str) -> Counts:
        """Write one batch with the vectors (n, d) float32 of its texts, as one commit. A text that the store holds already for
        the same user and item keeps the vector it has. Without any change there is no commit."""
        batch = self.batch()
        batch.add(reviews)
        batch.vectors.update((schema.text_hash(review.text), vector) for review, vector in zip(reviews, vectors, strict=True))
        return self.commit(batch, items, source=source)

    def batch(self) -> Batch:
        """An empty batch, for filling step by step before commit()."""
        return Batch(self._versions)

    def reuse_vectors(self, batch: Batch) -> None:
        """Give the batch the vectors of texts that the store knows under other users or items."""
        hashes = list(batch.missing())
        if hashes:
            with storage_errors(self._folder):
                rows = lance.rows(self.tables[REVIEWS], "text_hash", hashes, ("text_hash", "vector"))
            batch.vectors.update(zip(rows.column("text_hash").to_pylist(), schema.matrix(rows, "vector"), strict=True))

    def commit(self, batch: Batch, items: Sequence[Item] = (), *, source: str) -> Counts:
        """Write what the batch changes. Every text in batch.missing() must have got its vector."""
        with storage_errors(self._folder), uninterrupted():
            self.tables.roll_back()  # an earlier commit of this writer may have failed half-way
            changed, new_items = batch.changed(), self._changed_items(items)
            replaced = sum(version.stored_text is not None for version in changed.values())
            counts = Counts(len(changed) - replaced, replaced, batch.read - len(changed), len(new_items))
            if changed:
                self._write_reviews(changed, batch.vectors)
            if new_items:
                self._replace(ITEMS, "asin", list(new_items), schema.item_rows(new_items.values()))
            if changed or new_items:
                self.tables.commit("ingest", source, asdict(counts))
            return counts

    def tidy(self, *, force: bool = False) -> None:
        """Join the small pieces that writes leave and bring indexes up to date, where there are enough of them to matter
        (with `force`: wherever there is anything to do)."""
        with storage_errors(self._folder), uninterrupted():
            self.tables.roll_back()
            for table in self.tables.all:
                if lance.fragments(table) > (1 if force else 16 + table.count_rows() // 20_000):
                    lance.optimize(table)
            if self.tables.changed:
                self.tables.commit("compact", "", {})

    def _versions(self, keys: Sequence[bytes]) -> dict[bytes, Version]:
        with storage_errors(self._folder):
            columns = ("key", "rating", "title", "timestamp", "text_hash", "superseded")
            rows = lance.rows(self.tables[REVIEWS], "key", keys, columns).to_pylist()
        return {
            row["key"]: Version(
                row["timestamp"], row["text_hash"], schema.content_hash(row["text_hash"], row["title"], row["rating"]),
                tuple(row["superseded"] or ()), stored_text=row["text_hash"],
            )
            for row in rows
        }  # fmt: skip

    def _changed_items(self, items: Sequence[Item]) -> dict[str, Item]:
        latest: dict[str, Item] = {}
        table, asins = self.tables[ITEMS], list({item.asin for item in items})
        stored = schema.items_of(lance.rows(table, "asin", asins, ("asin", "title", "description")))
        for item in items:  # an empty field takes nothing away
            before = latest.get(item.asin) or stored.get(item.asin) or item
            latest[item.asin] = Item(item.asin, item.title or before.title, item.description or before.description)
        return {asin: item for asin, item in latest.items() if stored.get(asin) != item}

    def _write_reviews(self, changed: Mapping[bytes, Version], vectors: Mapping[bytes, np.ndarray]) -> None:
        versions = list(changed.values())
        replaced = [key for key, version in changed.items() if version.stored_text is not None]
        rows = lance.rows(self.tables[REVIEWS], "key", replaced, ("key", "vector"))
        before = dict(zip(rows.column("key").to_pylist(), schema.matrix(rows, "vector"), strict=True))
        after = np.empty((len(changed), self._dimension), np.float32)
        for i, (key, version) in enumerate(changed.items()):
            after[i] = before[key] if version.text == version.stored_text else vectors[version.text]
        if not np.isfinite(after).all():
            name = self.tables.embedder.name
            raise DepError(f"the embedder {name} returned NaN or infinity", "nothing of this batch was stored")
        self._write_sums(versions, after, [before.get(key) for key in changed])
        rows = schema.review_rows(
            [version.review for version in versions], list(changed), [version.text for version in versions],
            [version.superseded for version in versions], after,
        )  # fmt: skip
        self._replace(REVIEWS, "key", replaced, rows)

    def _write_sums(self, versions: Sequence[Version], after: np.ndarray, before: Sequence[np.ndarray | None]) -> None:
        """Add to each item's sum what its new vectors bring and what its replaced ones take away."""
        place: dict[str, int] = {}
        of = np.array([place.setdefault(version.review.asin, len(place)) for version in versions])
        table, asins = self.tables[SUMS], list(place)
        stored = schema.sums_of(lance.rows(table, "asin", asins, ("asin", "reviews", "total")))
        counts, totals = np.zeros(len(place), np.int64), np.zeros((len(place), after.shape[1]))
        for asin, item_sum in stored.items():
            counts[place[asin]], totals[place[asin]] = item_sum.reviews, item_sum.total
        order = np.argsort(of, kind="stable")  # sorted and reduced: several times quicker than np.add.at
        starts = np.flatnonzero(np.diff(of[order], prepend=-1))
        totals += np.add.reduceat(after[order].astype(np.float64), starts, axis=0)
        for i, vector in enumerate(before):
            if vector is None:
                counts[of[i]] += 1
            else:
                totals[of[i]] -= vector
        self._replace(SUMS, "asin", list(stored), schema.sum_rows(asins, counts, totals))

    def _replace(self, name: str, column: str, values: Sequence[str | bytes], rows) -> None:
        lance.delete(self.tables[name], column, values)
        self.tables[name].add(rows)
