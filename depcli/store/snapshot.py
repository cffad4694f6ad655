"""What a reader sees: the tables as one commit left them, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depcli.records import EmbedderIdentity, Item, ItemSum, Review, Stored, stable_order
from depcli.store.commits import Commit, check_nobody_forgotten, of, readable, reading
from depcli.store.disk import lance
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import COMMITS, ITEM_COLUMNS, ITEMS, REVIEWS, SUMS, items_of, matrix, review_keys, reviews_of, sums_of
from depcli.words import letters

REVIEW_COLUMNS = ("user_id", "asin", "text", "rating", "title", "timestamp", "vector")
_AT_ONCE = 256  # users or items looked up together, so that memory stays flat


class Snapshot:
    """One committed state of the store, for as long as the object lives."""

    moment: float | None = None  # unix seconds: what was written later is left out, see past.py

    def __init__(self, db, folder: Path, commit: Commit):
        self.commit = commit
        self._db, self._folder = db, folder
        self._tables: dict[str, object] = {}
        self._log_looked_at: set[str] | None = None

    @property
    def embedder(self) -> EmbedderIdentity:
        return self.commit.embedder

    def counts(self) -> dict[str, int]:
        """How many reviews, users, and items (reviewed or described) there are."""
        return {"reviews": self._reviews, "users": len(self._users), "items": len(self._asins)}

    def undescribed(self) -> int:
        """How many of the items have neither title nor description: a prompt says nothing of them."""
        described = 0
        with reading(self._folder, self.commit):
            for rows in lance.scan(self._table(ITEMS), ("title", "description")):
                title, description = (pc.not_equal(pc.fill_null(rows.column(name), ""), "") for name in rows.column_names)
                described += pc.sum(pc.or_(title, description)).as_py() or 0
        return len(self._asins) - described

    def untimed(self) -> int:
        """How many reviews have no time: in a history they stand before all others, in the order of their items' ids."""
        return sum(rows.column("timestamp").null_count for rows in self.review_rows(("timestamp",)))

    def user_ids(self) -> list[str]:
        """Every user with a review, sorted."""
        return list(self._users)

    def has_user(self, user_id: str) -> bool:
        return self._find(REVIEWS, "user_id", [user_id], ["key"]).num_rows > 0

    def twin(self, user_id: str) -> str | None:
        """A user whom a person takes for this one, who is not there: see words.letters."""
        return self._by_letters.get(letters(user_id))

    def histories(self, user_ids: Sequence[str]) -> dict[str, list[Stored]]:
        """The reviews of these users in records.stable_order, each with its vector (d,) float32; users without any are absent."""
        found = self._stored("user_id", user_ids, lambda review: review.user_id)
        for history in found.values():
            history.sort(key=lambda stored: stable_order(stored.review))
        return found

    def reviewers(self, asins: Sequence[str], most: int | None = None) -> dict[str, list[Stored]]:
        """Everybody's reviews of these items by time (undated first), ties by user, each with its vector (d,) float32; items
        without any are absent. All of them are held at once: a very popular item brings all its vectors, or `most` of them, by
        users who are always the same, drawn by hash."""
        popular = [] if most is None else [asin for asin, item in self.sums(asins).items() if item.reviews > most]
        found = self._stored("asin", [asin for asin in asins if asin not in popular], lambda review: review.asin)
        for asin in popular:
            users = (user for rows in self.review_rows(("user_id",), asin) for user in rows.column("user_id").to_pylist())
            drawn = sorted(review_keys((user, asin) for user in users))[:most]
            found |= self._stored("key", drawn, lambda review: review.asin)
        for reviews in found.values():
            reviews.sort(key=lambda stored: (stable_order(stored.review), stored.review.user_id))
        return found

    def review_rows(self, columns: Sequence[str], asin: str | None = None) -> Iterator[pa.Table]:
        """These columns of every review, or of every review of one item, a few thousand rows at a time and in no particular
        order: memory stays flat however many there are."""
        with reading(self._folder, self.commit):
            if asin is None:
                yield from lance.scan(self._table(REVIEWS), columns)
            else:
                for batch in lance.batches(self._table(REVIEWS), "asin", [asin], columns):
                    yield pa.Table.from_batches([batch])

    def all_items(self) -> Iterator[Item]:
        """Every described item, sorted by asin."""
        asins = sorted(self._distinct(ITEMS, "asin"))
        for start in range(0, len(asins), _AT_ONCE):
            found = self.items(asins[start : start + _AT_ONCE])
            yield from (found[asin] for asin in asins[start : start + _AT_ONCE])

    def all_reviews(self) -> Iterator[Review]:
        """Every review, sorted by user and then in records.stable_order, with the hashes of the versions that it superseded."""
        for start in range(0, len(self._users), _AT_ONCE):
            columns = (*REVIEW_COLUMNS[:-1], "superseded")
            rows = self._find(REVIEWS, "user_id", self._users[start : start + _AT_ONCE], columns)
            reviews = [
                replace(review, superseded=tuple(hashes)) if hashes else review
                for review, hashes in zip(reviews_of(rows), rows.column("superseded").to_pylist(), strict=True)
            ]
            yield from sorted(reviews, key=lambda review: (review.user_id, stable_order(review)))

    def reviews(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Review]:
        """The reviews of these (user_id, asin), without their vectors; those that are not there are absent."""
        rows = self._find(REVIEWS, "key", review_keys(keys), REVIEW_COLUMNS[:-1])
        return {(review.user_id, review.asin): review for review in reviews_of(rows)}

    def vectors(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
        """The vectors (d,) float32 of the reviews with these (user_id, asin); those that are not there are absent."""
        rows = self._find(REVIEWS, "key", review_keys(keys), ("user_id", "asin", "vector"))
        names = zip(rows.column("user_id").to_pylist(), rows.column("asin").to_pylist(), strict=True)
        return dict(zip(names, matrix(rows, "vector"), strict=True))

    def items(self, asins: Sequence[str]) -> dict[str, Item]:
        """Title, description and task of these items; unknown ones are absent."""
        return items_of(self._find(ITEMS, "asin", asins, ITEM_COLUMNS))

    def sums(self, asins: Sequence[str]) -> dict[str, ItemSum]:
        """Number of reviews and sum of vectors (d,) float64 of these items; items nobody reviewed are absent."""
        return sums_of(self._find(SUMS, "asin", asins, ("asin", "reviews", "total")))

    def check_nobody_forgotten(self) -> None:
        """For who is about to keep what was made of this commit, and may have to be gone. Raises NotFound when people or items
        were forgotten since, or the store is gone."""
        with storage_errors(self._folder):
            there = lance.manifests(self._folder, COMMITS)
            if there == self._log_looked_at:
                return
            log = of(self._folder)
        check_nobody_forgotten(self._folder, self.commit, log)
        self._log_looked_at = there

    def advice(self, begun: dict) -> str:
        """How to go on with what was `begun` on the commit that its setting store_commit names; nothing when that is this one."""
        if (commit := begun.get("store_commit")) in (None, self.commit.id):
            return ""
        with storage_errors(self._folder):
            if commit in {each.id for each in readable(of(self._folder))}:
                return f"--at {commit} goes on with the store as it was, and the newest commit needs another place: --out"
        return "the store as it was is gone, since somebody was forgotten or it was compacted: name another place with --out"

    def _stored(self, column: str, values: Sequence[str], group: Callable[[Review], str]) -> dict[str, list[Stored]]:
        rows = self._find(REVIEWS, column, values, REVIEW_COLUMNS)
        found: dict[str, list[Stored]] = {}
        for review, vector in zip(reviews_of(rows), matrix(rows, "vector"), strict=True):
            found.setdefault(group(review), []).append(Stored(review, vector))
        return found

    def _table(self, name: str):
        if name not in self._tables:
            self._tables[name] = lance.open_table(self._db, name, self.commit.versions[name])
        return self._tables[name]

    def _find(self, name: str, column: str, values: Sequence[str], select: Sequence[str]):
        with reading(self._folder, self.commit):
            return lance.rows(self._table(name), column, list(dict.fromkeys(values)), select)

    @cached_property
    def _reviews(self) -> int:
        with reading(self._folder, self.commit):
            return self._table(REVIEWS).count_rows()

    @cached_property
    def _users(self) -> list[str]:
        return sorted(self._distinct(REVIEWS, "user_id"))

    @cached_property
    def _by_letters(self) -> dict[str, str]:
        return {letters(user): user for user in self._users}

    @cached_property
    def _asins(self) -> set[str]:
        return self._distinct(ITEMS, "asin") | self._distinct(SUMS, "asin")

    def _distinct(self, name: str, column: str) -> set[str]:
        with reading(self._folder, self.commit):
            return set(pc.unique(lance.all_rows(self._table(name), [column]).column(column)).to_pylist())
