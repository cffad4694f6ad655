"""What SIGKILL does to a store: ingest, forget and compact are killed at random moments, again and again.

    python benchmarks/crash.py [--kills 200] [--seed 0] [--json OUT]

After each kill the store must open, show a state that was committed, and pass `dep check` (but for an erasing that is to be
finished); and the same command run again must end as an undisturbed run does: every review, item, sum and vector, and after
a forget nothing of it on the disk. Texts and vectors are made up, so that the writing takes the time and not an embedder.
The exit code is 1 when anything else was seen.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
from machine import machine

from depcli.errors import NotFound
from depcli.records import EmbedderIdentity, Item, Review
from depcli.store import Snapshot, Store
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.upkeep.erase import forget
from depcli.store.upkeep.lineage import ERASING
from depcli.store.writing.ingest import ingest

DIMENSION, USERS, ITEMS, CHUNK = 64, 40, 30, 60
FORGOTTEN_USERS, FORGOTTEN_ITEMS = ("user-003", "user-017"), ("item-05",)
COLUMNS = ("key", "user_id", "asin", "rating", "title", "text", "timestamp", "text_hash", "superseded", "vector")
TOLERANCE = 1e-9  # of sums that were added up in another order
os.environ.setdefault("PYTHONWARNINGS", "ignore:lancedb fork support is experimental")  # nothing has been opened at the fork


class MadeUp:
    """Unit vectors that depend on the text alone."""

    identity = EmbedderIdentity("made-up", "1", DIMENSION)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        vectors = np.array([np.random.default_rng(seed).normal(size=DIMENSION) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def entries() -> list[Item | Review]:
    """Items, reviews, and newer versions of a quarter of them."""
    reviews = [
        Review(f"user-{u:03}", f"item-{i:02}", f"user {u} on item {i}", float(1 + (u * i) % 5), f"title {i}", 1000.0 * u + i)
        for u in range(USERS)
        for i in range(ITEMS)
        if (u * 7 + i) % 3 == 0
    ]
    newer = [replace(review, text=review.text + ", again", timestamp=review.timestamp + 500) for review in reviews[::4]]
    return [*(Item(f"item-{i:02}", f"Item {i}", f"What item {i} is") for i in range(ITEMS)), *reviews, *newer]


def run_ingest(store: Store) -> None:
    ingest(store, entries(), MadeUp(), source="made up", chunk=CHUNK)


def run_forget(store: Store) -> None:
    with store.writer() as writer:
        try:
            forget(writer.tables, FORGOTTEN_USERS, FORGOTTEN_ITEMS)
        except NotFound:
            pass  # killed after its commit: opening the writer has done the rest


def run_compact(store: Store) -> None:
    with store.writer() as writer:
        compact(writer.tables, keep_days=0)


ACTIONS: dict[str, Callable[[Store], None]] = {"ingest": run_ingest, "forget": run_forget, "compact": run_compact}


def victim(action: str, path: Path, ready) -> None:
    """What the process does that is killed."""
    store = Store.open(path)
    ready.send(None)
    ACTIONS[action](store)


@dataclass(frozen=True, eq=False)
class State:
    """All that one commit holds: reviews and items as they are, and the item sums (d,) float64."""

    reviews: dict[bytes, tuple]
    items: dict[str, Item]
    sums: dict[str, tuple[int, np.ndarray]]

    def same(self, other: State) -> bool:
        """Equal, sums to TOLERANCE."""
        return (
            (self.reviews, self.items, self.sums.keys()) == (other.reviews, other.items, other.sums.keys())
            and all(count == other.sums[asin][0] for asin, (count, _) in self.sums.items())
            and all(np.abs(total - other.sums[asin][1]).max() <= TOLERANCE for asin, (_, total) in self.sums.items())
        )


def state(snapshot: Snapshot) -> State:
    rows = [row for part in snapshot.review_rows(COLUMNS) for row in part.to_pylist()]
    asins = [f"item-{i:02}" for i in range(ITEMS)]
    sums = {asin: (found.reviews, found.total) for asin, found in snapshot.sums(asins).items()}
    return State({row["key"]: tuple(map(str, row.values())) for row in rows}, snapshot.items(asins), sums)


@dataclass
class Tally:
    """What was seen of one command."""

    seconds: float  # of an undisturbed run
    kills: int = 0
    at: list[int] = field(default_factory=list)  # commits made when the kill came
    half_written: int = 0
    to_finish: int = 0
    sound: int = 0
    same_end: int = 0
    problems: list[str] = field(default_factory=list)


class Harness:
    """Kills one of the commands again and again, each time on a copy of the same store."""

    def __init__(self, action: str, folder: Path, moments: random.Random):
        self.action, self._folder, self._moments = action, folder, moments
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["depcli.store.writing.ingest", "depcli.store.upkeep.compact", "lancedb"])
        self._before = folder / "before"
        store = Store.create(self._before, MadeUp.identity)
        if action != "ingest":
            run_ingest(store)
        self._start = store.log()[-1].number
        undisturbed = self._copy("undisturbed")
        self.tally = Tally(self._run(undisturbed.path, None))
        self._states = {
            commit.number - self._start: state(undisturbed.snapshot(commit.id))
            for commit in undisturbed.log()
            if commit.number >= self._start and undisturbed.readable(commit)
        }
        self._states[0] = state(store.snapshot())
        self._end = state(undisturbed.snapshot())
        self._vectors = [
            np.array(row["vector"], np.float32).tobytes()
            for part in store.snapshot().review_rows(("user_id", "vector"))
            for row in part.to_pylist()
            if row["user_id"] in FORGOTTEN_USERS
        ]

    def kill(self) -> None:
        """Kill the command once, look at what it left, and run it again."""
        store = self._copy("killed")
        while seconds := self._run(store.path, self._moments.uniform(0, self.tally.seconds)):
            self.tally.seconds = seconds  # it was done before: draw another moment
            store = self._copy("killed")
        self.tally.kills += 1
        problems = [*self._look(store), *self._again(store)]
        self.tally.problems += [f"kill {self.tally.kills}: {problem}" for problem in problems]

    def _look(self, store: Store) -> list[str]:
        """What is wrong with the store that the kill left."""
        report = check(Store.open(store.path))
        made = report.number - self._start
        self.tally.at.append(made)
        self.tally.half_written += any("after the newest commit" in note for note in report.notes)
        self.tally.to_finish += any(finding.what == ERASING for finding in report.findings)
        problems = [f"{finding.what}: {finding.message}" for finding in report.findings if finding.what != ERASING]
        if made not in self._states or not state(store.snapshot()).same(self._states[made]):
            problems.append(f"shows a state that was never committed, {made} commits after the start")
        self.tally.sound += not problems
        return problems

    def _again(self, store: Store) -> list[str]:
        """What is wrong with the end of the same command, run again."""
        ACTIONS[self.action](store)
        problems = [f"in the end: {finding.what}: {finding.message}" for finding in check(store).findings]
        if not state(store.snapshot()).same(self._end):
            problems.append("another end than undisturbed")
        if self.action == "forget":
            words = [word.encode() for word in FORGOTTEN_USERS] + self._vectors
            files = [file for file in store.folder.rglob("*") if file.is_file()]
            problems += [f"{file.name} still holds what was forgotten" for file in files if _holds(file, words)]
        self.tally.same_end += not problems
        return problems

    def _run(self, path: Path, limit: float | None) -> float | None:
        """Run the command in a process of its own that is killed after `limit` seconds (None: never). The seconds it took, or
        None when it was killed."""
        here, there = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=victim, args=(self.action, path, there))
        process.start()
        here.recv()
        started = time.perf_counter()
        process.join(limit)
        took = time.perf_counter() - started
        process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{self.action} failed by itself")
        return None if process.exitcode else took

    def _copy(self, name: str) -> Store:
        path = self._folder / name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self._before, path)
        return Store.open(path)


def _holds(file: Path, words: Sequence[bytes]) -> bool:
    content = file.read_bytes()
    return any(word in content for word in words)


@click.command()
@click.option("--kills", default=200, show_default=True, help="Of all three commands together.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def main(kills: int, seed: int, json_path: Path | None) -> None:
    """Kill, look, run again; print what was seen."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        harnesses = [Harness(action, Path(folder) / action, moments) for action in ACTIONS]
        for number in range(kills):
            harnesses[number % len(harnesses)].kill()
            if sys.stderr.isatty():
                click.echo(f"\r{number + 1}/{kills}", nl=False, err=True)
    click.echo(f"{'command':9}{'kills':>6}{'took':>9}{'commits at the kill':>21}{'half-written':>14}{'sound':>7}{'same end':>10}")
    for harness in harnesses:
        tally = harness.tally
        at = f"{min(tally.at)} to {max(tally.at)}" if tally.at else "-"
        click.echo(
            f"{harness.action:9}{tally.kills:6}{1000 * tally.seconds:6.0f} ms{at:>21}{tally.half_written:14}{tally.sound:7}"
            f"{tally.same_end:10}"
        )
        for problem in tally.problems:
            click.echo(f"  {problem}", err=True)
    problems = sum(len(harness.tally.problems) for harness in harnesses)
    if json_path:
        result = {
            "machine": machine(),
            "python": platform.python_version(),
            "lancedb": version("lancedb"),
            "kills": kills,
            "seed": seed,
            "commands": {harness.action: vars(harness.tally) for harness in harnesses},
        }
        json_path.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
