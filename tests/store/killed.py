"""Processes that ingest and are killed.

`python -m tests.store.killed PROFILES` writes a line to stdout after each group of reviews, to be killed from outside.
`python -m tests.store.killed N=PROFILES ...` lets one process per store kill itself right before its Nth write to LanceDB
(rows added or deleted, pieces joined, indexes made), and writes each one's exit status. After `--forget USER` they forget the
user instead, after `--compact` they compact and keep the newest commit only.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from lancedb.table import LanceTable

from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.compact import compact
from depcli.store.writing import ingest
from tests.store.made import MadeEmbedder, entries_for_killing

CHUNK = 25


def count_writes(limit: int) -> None:
    """Wrap LanceDB's writing calls so that the one with number `limit` never happens."""
    done = 0

    def wrapped(write):
        def counted(*arguments, **options):
            nonlocal done
            done += 1
            if done == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **options)

        return counted

    for name in ("add", "delete", "optimize", "restore", "create_index"):
        setattr(LanceTable, name, wrapped(getattr(LanceTable, name)))


def run(path: str) -> None:
    store = Store.open(path)
    ingest.READ_AHEAD, ingest.BATCH_REVIEWS = 8, 10  # so that a commit is written in several batches
    ingest.ingest(store, entries_for_killing(), MadeEmbedder(), source="killed", chunk=CHUNK, on_progress=say)
    with store.writer() as writer:
        writer.tidy(force=True)


def forget(path: str, user: str) -> None:
    with Store.open(path).writer() as writer:
        erase.forget(writer.tables, [user], [])


def give_space_back(path: str) -> None:
    with Store.open(path).writer() as writer:
        compact(writer.tables, keep_days=0)


def say(event: dict) -> None:
    sys.stdout.write(f"{event['reviews_committed']}\n")
    sys.stdout.flush()


def run_killed(work: Callable[[str], None], path: str, limit: int) -> int:
    """The exit status of a child that dies before its write number `limit`. The fork saves importing LanceDB again."""
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr
        count_writes(limit)
        work(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "--forget":
        work, arguments = partial(forget, user=arguments[1]), arguments[2:]
    elif arguments[0] == "--compact":
        work, arguments = give_space_back, arguments[1:]
    else:
        work = run
    if "=" not in arguments[0]:
        work(arguments[0])
    else:
        for argument in arguments:
            number, _, folder = argument.partition("=")
            sys.stdout.write(f"{run_killed(work, folder, int(number))}\n")
