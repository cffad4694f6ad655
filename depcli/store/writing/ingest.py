"""From a reader into the store: embed what is new, commit every few seconds, go on after a kill by running again.

While one thread writes a batch, the next one is read and embedded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from depcli.errors import BadInput, DepError, Incompatible
from depcli.readers import BadLine
from depcli.records import Item, Review
from depcli.store.store import Store
from depcli.store.upkeep.compact import drop_outdated
from depcli.store.writing.batch import Batch
from depcli.store.writing.changes import Changes
from depcli.store.writing.writer import Counts, Writer
from depcli.system.interrupts import uninterrupted

READ_AHEAD = 2048  # reviews looked up and embedded together, fewer when that takes longer than COMMIT_SECONDS
COMMIT_REVIEWS = 2**20  # a commit holds at most about this many reviews,
COMMIT_SECONDS = 5.0  # and this much work that a kill could lose
BATCH_REVIEWS = 65_536  # and it is written in batches of at most this many reviews
FIRST_BATCH_BYTES, BATCH_BYTES = 16 * 2**20, 64 * 2**20  # or this much text and vectors: small at first, so that writing begins
_BAD_LINES_KEPT = 5
_TIDY_REVIEWS = 1000  # after a run that wrote as many, pieces are joined and indexes brought up to date


@dataclass(frozen=True)
class IngestReport:
    """What became of the entries. `reviews` were read, of which `added`, `replaced`, `unchanged` (in the store as they are) and
    `outdated`, since another one by the same user about the same item stays: `first_outdated` names both. `embedded` counts
    texts; `first_bad` are the first few of `bad_lines`; `commit` is the id of the newest commit."""

    reviews: int
    added: int
    replaced: int
    unchanged: int
    outdated: int
    first_outdated: tuple[str, str] | None
    items: int
    embedded: int
    bad_lines: int
    first_bad: tuple[BadLine, ...]
    seconds: float
    commit: str


def ingest(
    store: Store,
    entries: Iterable[Review | Item | BadLine],
    embedder,
    *,
    source: str,
    chunk: int = COMMIT_REVIEWS,
    strict: bool = False,
    wait: bool = True,
    on_wait: Callable[[str], None] | None = None,
    on_progress: Callable[[dict], None] | None = None,
    in_use: Collection[str] | None = None,
) -> IngestReport:
    """Bring entries into the store, at most `chunk` reviews per commit, memory flat.

    Bad lines are counted and left out; with `strict` the first one ends the run with BadInput. When the input itself breaks off
    (a truncated file), what was read before is committed and then the reader's error is raised.
    After bulk work old commits are dropped as by compact(), but for those `in_use` (ids); None drops nothing.
    `on_progress` gets a dict with reviews_done, reviews_committed, embedded, skipped, bad_lines, reviews_per_second.
    """
    if embedder.identity != store.embedder:
        message = f"the store was made with {store.embedder}, not with {embedder.identity}"
        raise Incompatible(message, f"use --embedder {store.embedder.name}, or another folder with --profiles")
    with store.writer(wait, on_wait) as writer, _Run(writer, embedder, source) as run:
        for group in run.groups(entries, chunk, strict):
            run.take(group)
            if run.due(chunk):
                run.write(chunk)
            if on_progress is not None:
                on_progress(run.progress())
        run.write(0)
        run.settle()
        bulk = run.done.added + run.done.replaced >= _TIDY_REVIEWS
        writer.tidy(force=bulk)
        if bulk and in_use is not None:
            drop_outdated(writer.tables, in_use)
    if run.failure is not None:
        raise run.failure
    return IngestReport(
        run.reviews,
        run.done.added,
        run.done.replaced,
        run.done.unchanged,
        run.done.outdated,
        run.first_outdated,
        run.done.items,
        run.embedded,
        run.bad_lines,
        tuple(run.first_bad),
        time.monotonic() - run.started,
        writer.head.id,
    )


class _Run:
    """One ingest under way."""

    def __init__(self, writer: Writer, embedder, source: str):
        self._writer, self._embedder, self._source = writer, embedder, source
        self.reviews = self.embedded = self.bad_lines = 0
        self.done = Counts()
        self.first_bad: list[BadLine] = []
        self.first_outdated: tuple[str, str] | None = None
        self.failure: DepError | None = None
        self._read_ahead = max(READ_AHEAD // 32, 1)
        self.started = self._commit_started = time.monotonic()
        self._uncommitted, self._batch_bytes = 0, FIRST_BATCH_BYTES
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[Counts] | None = None
        self._start_batch(None)

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_) -> None:
        with uninterrupted():  # the lock must not be dropped while a batch is being written
            self._thread.shutdown()
            self._writer.finish(self._source)  # what was written before an interruption counts

    def groups(self, entries: Iterable[Review | Item | BadLine], chunk: int, strict: bool) -> Iterator[list[Review | Item]]:
        """Good entries, at most `chunk` at a time. What the input breaks off with is kept in `failure`, after all before it."""
        group: list[Review | Item] = []
        characters, most = 0, self._group_size(chunk)
        try:
            for entry in entries:
                if isinstance(entry, BadLine):
                    self._bad(entry, strict)
                    continue
                group.append(entry)
                characters += len(entry.text if isinstance(entry, Review) else entry.description)
                if len(group) >= most or characters >= BATCH_BYTES:
                    self._batch_characters += characters
                    yield group
                    group, characters, most = [], 0, self._group_size(chunk)
        except DepError as error:
            self.failure = error
        yield group

    def _group_size(self, chunk: int) -> int:
        return min(self._read_ahead, chunk - self._uncommitted - self._entries)

    def _bad(self, line: BadLine, strict: bool) -> None:
        self.bad_lines += 1
        if len(self.first_bad) < _BAD_LINES_KEPT:
            self.first_bad.append(line)
        if strict:
            hint = f"mend the {line.unit}, or leave --strict out to skip such {line.unit}s"
            raise BadInput(f"{self._source}, {line.unit} {line.line_number}: {line.reason}", "; ".join([*line.hints, hint]))

    def take(self, group: list[Review | Item]) -> None:
        """Add a group to the batch, with a vector for every text that has none."""
        began = time.monotonic()
        reviews = [entry for entry in group if isinstance(entry, Review)]
        self._batch_items += [entry for entry in group if isinstance(entry, Item)]
        self._batch.add(reviews)
        self.reviews += len(reviews)
        self._writer.reuse_vectors(self._batch)
        missing = self._batch.missing()
        if missing:
            self._batch.vectors.add(list(missing), self._embedder.encode(list(missing.values())))
            self.embedded += len(missing)
        seconds = time.monotonic() - began
        if seconds > COMMIT_SECONDS:
            self._read_ahead = max(self._read_ahead // 2, 1)
        elif seconds < COMMIT_SECONDS / 2:
            self._read_ahead = min(self._read_ahead * 2, READ_AHEAD)

    def due(self, chunk: int) -> bool:
        """Whether the batch is large enough, or old enough, to be written."""
        size = self._batch_characters + self._batch.read * 4 * self._embedder.identity.dimension
        return (
            self._entries >= BATCH_REVIEWS
            or self._uncommitted + self._entries >= chunk
            or size >= self._batch_bytes
            or self._is_late()
        )

    def write(self, chunk: int) -> None:
        """Let the batch be written, once the one before it is, and begin another. It counts when a commit is full or late, and
        with a `chunk` of 0 always."""
        batch, changes = self._batch, self._writer.prepare(self._batch)
        if batch.first_outdated and not self.first_outdated:
            self.first_outdated = batch.first_outdated.user_id, batch.first_outdated.asin
        self.settle()
        batch.before = None
        self._uncommitted += self._entries
        more = self._uncommitted < chunk and not self._is_late()
        self._writing = self._thread.submit(self._write, batch, changes, self._batch_items, more)
        if not more:
            self._uncommitted, self._commit_started = 0, time.monotonic()
        self._batch_bytes = min(2 * self._batch_bytes, BATCH_BYTES)
        self._start_batch(batch)

    def settle(self) -> None:
        """Wait for the batch that is being written."""
        if self._writing is None:
            return
        counts, self._writing = self._writing.result(), None
        self.done += counts

    def _write(self, batch: Batch, changes: Changes, items: list[Item], more: bool) -> Counts:
        counts = self._writer.commit(batch, items, source=self._source, prepared=changes, more=more)
        if counts:
            self._writer.join_pieces()
        return counts

    @property
    def _entries(self) -> int:
        return self._batch.read + len(self._batch_items)

    def _is_late(self) -> bool:
        return time.monotonic() - self._commit_started > COMMIT_SECONDS

    def progress(self) -> dict:
        seconds = time.monotonic() - self.started
        return {
            "reviews_done": self.reviews,
            "reviews_committed": self.done.reviews,
            "embedded": self.embedded,
            "skipped": self.reviews - self.embedded,
            "bad_lines": self.bad_lines,
            "reviews_per_second": self.reviews / seconds if seconds > 0 else 0.0,
        }

    def _start_batch(self, before: Batch | None) -> None:
        self._batch: Batch = self._writer.batch(before)
        self._batch_items: list[Item] = []
        self._batch_characters = 0
