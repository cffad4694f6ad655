"""Is the store what it says it is? Everything that is derived is computed again and compared; nothing is changed.

Memory holds a few thousand rows, a slice of the item sums, 16 bytes per review, and the ids of the items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from depcli.errors import DepError
from depcli.store import commits, schema
from depcli.store.disk import lance
from depcli.store.disk.failures import storage_errors
from depcli.store.schema import INDEXED, ITEMS, REVIEWS, SUMS
from depcli.store.store import Store
from depcli.store.upkeep import lineage, recompute
from depcli.store.upkeep.finding import BACKUP, Finding
from depcli.words import count

_CUT = "dep check --repair, in case a write was cut short; if that does not help, restore a backup"
SUM_TOLERANCE = 1e-6  # per component of a sum of unit vectors: 64-bit sums drift by 1e-9, a lost review shows as 1e-2
_LOOKUPS = 1024  # values per index that are looked up through it and counted without it
_EXAMPLES = 3


@dataclass(frozen=True)
class CheckReport:
    """What the newest commit `number` was found to be. `checked` says how many there were of what; `findings` are the
    differences, `notes` what is no damage and worth knowing."""

    number: int
    commit: str
    checked: dict[str, int]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return not any(finding.harm for finding in self.findings)


def check(store: Store, on_progress: Callable[[str, int, int], None] | None = None) -> CheckReport:
    """Look at the whole store as its newest commit left it. Readers and a writer may go on meanwhile.

    `on_progress(what, done, total)` is called again and again with rows of the table under way.
    """
    started = time.monotonic()
    log = store.log()
    run = _Run(store, log[-1], on_progress or (lambda what, done, total: None))
    with run.part("commits", _CUT):
        run.checked |= {"commits": len(log), "table versions": 0}
        findings, notes, run.checked["table versions"] = lineage.check(store.folder, log)
        run.findings += findings
        run.notes += notes
    run.tables()
    head = log[-1]
    if run.findings and commits.readable(store.log())[:1] != commits.readable(log)[:1]:  # some of it was given up meanwhile
        return check(store, on_progress)
    return CheckReport(head.number, head.id, run.checked, tuple(run.findings), tuple(run.notes), time.monotonic() - started)


@dataclass
class _Tally:
    """Rows that differ, and the first few of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, wrong: np.ndarray) -> list[int]:
        """`wrong` (n,) bool over some rows. Returns the rows that are still wanted as examples."""
        rows = np.flatnonzero(wrong)
        self.count += len(rows)
        return rows[: _EXAMPLES - len(self.examples)].tolist()


class _Run:
    """One check under way."""

    def __init__(self, store: Store, head, on_progress: Callable[[str, int, int], None]):
        self._store, self._head, self._on_progress = store, head, on_progress
        self.checked: dict[str, int] = {}
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._unread: set[str] = set()

    @contextmanager
    def part(self, what: str, remedy: str = BACKUP) -> Iterator[None]:
        """A part that the disk cuts short becomes a finding, and the next part goes on."""
        try:
            with storage_errors(self._store.folder):
                yield
        except DepError as error:
            self._unread.add(what)
            self.findings.append(Finding(what, f"cannot be read: {error.message}", remedy=remedy))

    def tables(self) -> None:
        db, tables = lance.connect(self._store.folder), {}
        for name in INDEXED:
            with self.part(name, _CUT):
                table = lance.open_table(db, name, self._head.versions[name])
                if not table.schema.equals(schema.schemas(self._head.embedder.dimension)[name]):
                    message = f"the table has not the columns that {self._head.embedder.dimension}-d vectors need"
                    self.findings.append(Finding(name, message, remedy=BACKUP))
                    continue
                tables[name] = table
        if REVIEWS in tables:
            with self.part(REVIEWS):
                self._reviews(tables[REVIEWS])
        if REVIEWS in tables and SUMS in tables:
            with self.part(SUMS, remedy=BACKUP if REVIEWS in self._unread else ""):
                self._sums(tables[REVIEWS], tables[SUMS])
        if ITEMS in tables:
            with self.part(ITEMS):
                self._items(tables[ITEMS])
        readable = {name: table for name, table in tables.items() if name not in self._unread}
        for name, table in readable.items():
            with self.part("indexes", remedy=""):
                self._indexes(name, table)
        with self.part("indexes", remedy=""):
            newer = {name: rows for name, table in readable.items() if (rows := lance.unindexed_rows(table))}
            if newer:
                said = ", ".join(f"{count(rows, 'row')} of {name}" for name, rows in newer.items())
                self.notes.append(f"newer than their index, and found without it until dep compact: {said}")

    def _reviews(self, table) -> None:
        """Keys, text hashes and vectors of every row, and one row per key."""
        total, keys = table.count_rows(), []
        wrong = {"review keys": _Tally(), "text hashes": _Tally(), "vectors": _Tally()}
        columns = ("key", "user_id", "asin", "text", "text_hash", "vector")
        for rows in self._progress("reviews", total, lance.scan(table, columns)):
            right, vectors = recompute.keys(rows), schema.matrix(rows, "vector")
            keys.append(np.frombuffer(b"".join(right), "V16"))
            differing = {
                "review keys": recompute.differ(rows, "key", right),
                "text hashes": recompute.differ(rows, "text_hash", recompute.text_hashes(rows)),
                "vectors": ~recompute.usable(vectors, self._head.embedder.normalized),
            }
            for what, differs in differing.items():
                for i in wrong[what].add(differs):
                    wrong[what].examples.append(_named(rows, i))
        messages = {
            "review keys": "not the hash of user and item",
            "text hashes": "not the hash of the text",
            "vectors": "not finite" + (", or not of norm 1" if self._head.embedder.normalized else ""),
        }
        for what, message in messages.items():
            self._report(what, total, wrong[what], message)
        repeated = total - len(np.unique(np.concatenate(keys))) if keys else 0
        self._report("reviews", total, _Tally(repeated), "one more review of the same user and item")

    def _sums(self, reviews, sums) -> None:
        """Every stored sum minus the vectors of its reviews: what is left over is the difference."""
        dimension, total = self._head.embedder.dimension, sums.count_rows()
        reviewed = recompute.reviewed(reviews)
        seen: set[str] = set()
        wrong, repeated = _Tally(), 0
        pieces = recompute.slices(lance.scan(sums, ("asin", "reviews", "total")), recompute.items_at_once(dimension))
        for rows in self._progress("item sums", total, pieces):
            asins = rows.column("asin").to_pylist()
            repeated += len(asins) - len(set(asins) - seen)
            seen.update(asins)
            counts, totals = recompute.sums(reviews, asins, dimension)
            with np.errstate(invalid="ignore"):  # infinity in a vector, which is a finding of its own
                totals -= schema.matrix(rows, "total")
            largest = np.abs(totals).max(axis=1, initial=0)
            stored = rows.column("reviews").to_numpy()
            differs = (counts != stored) | (counts == 0) | ~(largest <= SUM_TOLERANCE)
            for i in wrong.add(differs):
                said = f"{stored[i]:,} reviews in the sum, {counts[i]:,} found, off by up to {largest[i]:.2g}"
                wrong.examples.append(f"item {asins[i]}: {said}")
        self._report("item sums", total, wrong, f"not the sum of the reviews' vectors (to {SUM_TOLERANCE:g})")
        self._report("item sums", total, _Tally(repeated), "one more sum of the same item")
        missing = sorted(reviewed - seen)
        examples = [f"item {asin}" for asin in missing[:_EXAMPLES]]
        self._report("item sums", total, _Tally(len(missing), examples), "missing: items with reviews and without a sum")

    def _items(self, table) -> None:
        total = table.count_rows()
        distinct = recompute.reviewed(table)
        for _ in lance.scan(table, schema.ITEM_COLUMNS):  # can be read
            pass
        self._report("items", total, _Tally(total - len(distinct)), "one more description of the same item")

    def _indexes(self, name: str, table) -> None:
        """Every index is there, and a sample of lookups through it finds as many rows as looking at each row does."""
        there, columns = lance.indexed(table), INDEXED[name]
        for column in columns:
            self.checked["indexes"] = self.checked.get("indexes", 0) + 1
            if column not in there:
                self.findings.append(Finding("indexes", f"{name} has no index on {column}: lookups are slow", harm=False))
        step = max(1, table.count_rows() // _LOOKUPS)
        sample, at = [], 0
        for rows in lance.scan(table, columns):
            sample.append(rows.take(pa.array(range(-at % step, rows.num_rows, step), pa.int64())))
            at += rows.num_rows
        for column in there.intersection(columns) if sample else ():
            values = pc.unique(pa.concat_tables(sample).column(column))
            slow = sum(pc.sum(pc.is_in(rows.column(column), values)).as_py() for rows in lance.scan(table, (column,)))
            found = lance.rows(table, column, values.to_pylist(), (column,)).num_rows
            if found != slow:
                message = f"the index of {name} on {column} finds {found:,} of {slow:,} rows"
                self.findings.append(Finding("indexes", message, abs(slow - found)))

    def _progress(self, what: str, total: int, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        done = 0
        for rows in tables:
            yield rows
            done += rows.num_rows
            self._on_progress(what, done, total)

    def _report(self, what: str, total: int, tally: _Tally, message: str) -> None:
        self.checked[what] = total
        if tally.count:
            self.findings.append(Finding(what, message, tally.count, examples=tuple(tally.examples)))


def _named(rows: pa.Table, row: int) -> str:
    return f"user {rows.column('user_id')[row].as_py()}, item {rows.column('asin')[row].as_py()}"
