"""What the profile store costs, beside LanceDB as it is: filling it, adding to it, reading from it, its size and its memory.

    python benchmarks/store.py [--sizes 2000x384,20000x384] [--rounds 3] [--folder DIR] [--json OUT]

Sizes are reviews x dimension; without the option: 2,000, 200,000 and 1,000,000 x 384 and 200,000 x 1,024, which takes about
15 GB of disk. Everything is made up (see made_up.py), and the embedder only hands out vectors. A store is filled again and
again, in turn with the bare `add` of the same rows in pieces as large as the store's commits, and a ratio is the median over
these pairs; reading goes round all stores again and again. So each ratio is of figures that were taken side by side.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median

import click
import lancedb
import numpy as np
import pyarrow as pa
from lancedb.expr import col, lit
from machine import machine
from made_up import POPULAR, World

from depcli.personal.difference import Peers
from depcli.personal.history import most_recent
from depcli.store import Store, schema
from depcli.store.snapshot import REVIEW_COLUMNS
from depcli.store.upkeep.compact import compact
from depcli.store.writing.ingest import ingest

FULL = "2000x384,200000x384,1000000x384,200000x1024"
HISTORY = 8  # reviews of a user that are shown to a backbone
READS, ADDS = 20, 5  # per round and store
GOALS = {
    "ingest_ratio": "bulk ingest: share of a bare add's rows/s (goal >= 0.60)",
    "ingest_ratio_batches": "  the same, beside a bare add of the rows in batches, LanceDB's quickest",
    "ingest_ratio_indexed": "  the same, beside a bare add that makes the same indexes",
    "ingest_ratio_cpu": "  the same, of the processor time of all threads",
    "ingest_rows_per_second": "  rows/s",
    "ingest_seconds": "  seconds",
    "bare_seconds": "  seconds of the bare add",
    "ingest_memory_mib": "  memory of ingest, MiB at its peak (goal <= 1024)",
    "add_one_ms": "adding one review, ms",
    "add_one_ratio": "  as a multiple of the smallest store (goal <= 1.5)",
    "history_ms": f"history + differences of a user, {HISTORY} reviews, ms",
    "history_ratio": "  as a multiple of a bare indexed lookup (goal <= 3)",
    "history_growth": "  as a multiple of the smallest store (goal <= 2)",
    "popular_reviewers": "reviewers of the popular item",
    "popular_ms": "difference of one review of it, ms",
    "popular_ratio": "  as a multiple of an item with about 10 reviewers (goal about 1)",
    "recomputed_ms": "  the same from the peers instead of the sum, ms",
    "recomputed_ratio": "  as a multiple of the way by the sum",
    "disk_ratio": "disk after compaction / vectors + compressed text (goal <= 1.15)",
}


def in_own_process(work: Callable, *arguments):
    """Run it in a fresh process, so that nothing is warm and the peak of its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def fill(world: World, folder: Path, rounds: int) -> dict:
    """Ingest the world into a new store, and add the same rows to a bare table, whole and in batches; all sides `rounds` times,
    forwards and backwards in turn, so that what else the machine does meets all. The reviews are in memory before: reading files
    is not measured. Medians, the ratios round by round; the memory is that of the first ingest."""
    entries, sides = list(world.entries()), (_fill_store, _fill_bare, _fill_bare_in_batches)
    for side in sides:  # nothing is timed that happens once per process
        with tempfile.TemporaryDirectory(dir=folder.parent) as warm:
            side(world, entries[:10], Path(warm) / "warm", [10])
    gc.freeze()
    before, taken, pieces, memory = _peak_mib(anew=True), [], [], 0.0
    for number in range(rounds):
        took = {}
        for side in sides if number % 2 == 0 else sides[::-1]:
            place = folder if side is _fill_store else folder.with_name("bare")
            shutil.rmtree(place, ignore_errors=True)
            took[side] = side(world, entries, place, pieces)
            if not pieces:
                memory = _peak_mib() - before
                pieces = [commit.counts["added"] for commit in Store.open(folder).log() if commit.source]
        taken.append([took[side] for side in sides])
    shutil.rmtree(folder.with_name("bare"))
    return {
        "ingest_ratio": median(bare["seconds"] / ours["seconds"] for ours, bare, _ in taken),
        "ingest_ratio_batches": median(batches["seconds"] / ours["seconds"] for ours, _, batches in taken),
        "ingest_ratio_indexed": median(bare["indexed_seconds"] / ours["seconds"] for ours, bare, _ in taken),
        "ingest_ratio_cpu": median(bare["cpu"] / ours["cpu"] for ours, bare, _ in taken),
        "ingest_rows_per_second": median(world.reviews / ours["seconds"] for ours, *_ in taken),
        "ingest_seconds": median(ours["seconds"] for ours, *_ in taken),
        "bare_seconds": median(bare["seconds"] for _, bare, _ in taken),
        "ingest_memory_mib": memory,
    }


def _fill_store(world: World, entries: list, folder: Path, pieces: list[int]) -> dict:
    store = Store.create(folder, world.identity)
    began, cpu = time.perf_counter(), time.process_time()
    report = ingest(store, entries, world, source="made up")
    seconds = time.perf_counter() - began
    if report.added != len(entries):
        raise RuntimeError(f"{report.added} of {len(entries)} reviews were added")
    return {"seconds": seconds, "cpu": time.process_time() - cpu}


def _fill_bare_in_batches(world: World, entries: list, folder: Path, pieces: list[int]) -> dict:
    """The same as _fill_bare, with rows in batches of 2,048: LanceDB copies a long one before it writes it."""
    return _fill_bare(world, entries, folder, pieces, 2048)


def _fill_bare(world: World, entries: list, folder: Path, pieces: list[int], batch: int | None = None) -> dict:
    """Rows that are ready-made, in pieces as large as the store's commits; and then the same indexes."""
    table = lancedb.connect(str(folder)).create_table("reviews", schema=schema.schemas(world.dimension)[schema.REVIEWS])
    seconds = cpu = start = 0
    for piece in pieces:
        rows = pa.Table.from_batches(_rows(world, entries[start : start + piece]).to_batches(batch))
        began, cpu_began = time.perf_counter(), time.process_time()
        table.add(rows)
        seconds += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
        start += piece
    began = time.perf_counter()
    for column in schema.INDEXED[schema.REVIEWS]:
        table.create_index(column, config=lancedb.index.BTree())
    return {"seconds": seconds, "cpu": cpu, "indexed_seconds": seconds + time.perf_counter() - began}


def _rows(world: World, reviews: list) -> pa.Table:
    keys = schema.review_keys((review.user_id, review.asin) for review in reviews)
    texts = [review.text for review in reviews]
    vectors = np.concatenate([world.encode(texts[start : start + 4096]) for start in range(0, len(texts), 4096)])
    return schema.review_rows(reviews, keys, schema.text_hashes(texts), [()] * len(reviews), vectors)


def _peak_mib(*, anew: bool = False) -> float:
    """The most memory that this process has had; with `anew` what it has now, and the peak is counted from here on."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux: the peak of all its life
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    figure = "VmRSS" if anew else "VmHWM"
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(figure)) / 1024


class Readings:
    """One store, read again and again; the medians and means of what that took, in milliseconds."""

    def __init__(self, world: World, folder: Path):
        self.world, self.folder, self.seconds = world, folder, {}
        self.store = Store.open(folder)
        self.snapshot = self.store.snapshot()
        self.peers = Peers(self.snapshot)
        self.bare = lancedb.connect(str(self.store.folder)).open_table(schema.REVIEWS)
        self.random = np.random.default_rng(0)
        counts = _column(self.snapshot, schema.SUMS, "reviews")
        asins = np.array(_column(self.snapshot, schema.SUMS, "asin"))
        self.rare = asins[np.argsort(np.abs(np.array(counts) - 10), kind="stable")][:READS].tolist()
        self.reviewers = max(counts)
        self.added = world.reviews

    def go(self) -> None:
        """One round."""
        users = [f"U{user:09}" for user in self.random.integers(0, self.world.users, READS)]
        self._history(users[-1])  # warm again after the other stores
        for user, rare in zip(users, self.rare * READS, strict=False):
            self._timed("bare", self._bare_lookup, user)
            entries = self._timed("history", self._history, user)
            popular = next(entry for entry in entries if entry.review.asin == POPULAR)
            self._timed("popular", self._difference, popular, POPULAR)
            self._timed("rare", self._difference, popular, rare)
        self._timed("recomputed", self._recomputed, POPULAR)
        for _ in range(ADDS):
            new = replace(self.world.review(self.added, "by somebody new"), user_id=f"new {self.added}")
            self.added += 1
            self._timed("add", ingest, self.store, [new], self.world, source="one review")

    def result(self) -> dict:
        times = {name: 1000 * (np.mean(each) if name == "add" else median(each)) for name, each in self.seconds.items()}
        return {
            "add_one_ms": times["add"],
            "history_ms": times["history"],
            "history_ratio": times["history"] / times["bare"],
            "popular_reviewers": self.reviewers,
            "popular_ms": times["popular"],
            "popular_ratio": times["popular"] / times["rare"],
            "recomputed_ms": times["recomputed"],
            "recomputed_ratio": times["recomputed"] / times["popular"],
        }

    def _timed(self, name: str, work: Callable, *arguments, **options):
        began = time.perf_counter()
        found = work(*arguments, **options)
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return found

    def _bare_lookup(self, user: str) -> pa.Table:
        return self.bare.search().where(col("user_id") == lit(user)).select(list(REVIEW_COLUMNS)).limit(None).to_arrow()

    def _history(self, user: str) -> list:
        entries = self.snapshot.histories([user])[user]
        shown = most_recent(entries, HISTORY)
        sums = self.peers.sums([entry.review.asin for entry in shown])
        for entry in shown:
            self.peers.difference(entry, sums)
        return entries

    def _difference(self, entry, asin: str):
        item = self.peers.sums([asin])[asin]
        return self.peers.difference(entry, {entry.review.asin: item})

    def _recomputed(self, asin: str):
        past = self.store.snapshot(as_of=1e18)  # of the past: it adds up the reviews themselves
        return past.sums([asin])[asin]


def _column(snapshot, table: str, column: str) -> list:
    found = lancedb.connect(str(snapshot._folder)).open_table(table)
    return found.search().select([column]).limit(None).to_arrow().column(column).to_pylist()


def read(places: list[tuple[World, Path]], rounds: int) -> list[dict]:
    readings = [Readings(world, folder) for world, folder in places]
    for _ in range(rounds):
        for reading in readings:
            reading.go()
    return [reading.result() for reading in readings]


def disk_ratio(world: World, folder: Path) -> float:
    """Bytes of the store that keeps its newest commit only, over the least that vectors and compressed texts could take."""
    with Store.open(folder).writer() as writer:
        compacted = compact(writer.tables, keep_days=0)
    entries, zstd, raw = world.entries(), pa.Codec("zstd"), world.reviews * world.dimension * 4
    while block := list(islice(entries, 4096)):
        raw += len(zstd.compress("".join(entry.text for entry in block).encode()))
    return compacted.bytes_after / raw


def measure(worlds: list[World], folder: Path, rounds: int) -> dict[str, dict]:
    """Every figure of GOALS per world."""
    places, results = [], {}
    for world in worlds:
        place, result = folder / f"{world.reviews}x{world.dimension}", {}
        result |= in_own_process(fill, world, place, rounds)
        click.echo(f"{world}: filled", err=True)
        places.append((world, place))
        results[str(world)] = result
    for (world, _), found in zip(places, in_own_process(read, places, rounds), strict=True):
        results[str(world)] |= found
    smallest = results[str(min(worlds, key=lambda world: world.reviews))]
    for world, place in places:
        result = results[str(world)]
        result["add_one_ratio"] = result["add_one_ms"] / smallest["add_one_ms"]
        result["history_growth"] = result["history_ms"] / smallest["history_ms"]
        result["disk_ratio"] = in_own_process(disk_ratio, world, place)
    return results


@click.command()
@click.option("--sizes", default=FULL, show_default=True, help="Reviews x dimension, separated by commas.")
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For the stores. [default: a temporary one]"
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def main(sizes: str, rounds: int, folder: Path | None, json_path: Path | None) -> None:
    """Print a table of every figure for every size."""
    worlds = [World(*map(int, size.split("x"))) for size in sizes.split(",")]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        results = measure(worlds, Path(place), rounds)
    click.echo(machine())
    click.echo(f"{'':72}" + "".join(f"{world!s:>18}" for world in worlds))
    for name, said in GOALS.items():
        click.echo(f"{said:72}" + "".join(f"{results[str(world)][name]:18,.2f}" for world in worlds))
    if json_path:
        versions = {"python": platform.python_version(), **{name: version(name) for name in ("lancedb", "pyarrow", "numpy")}}
        json_path.write_text(json.dumps({"machine": machine(), "versions": versions, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
