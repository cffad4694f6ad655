"""Processes that ingest and are killed.

`python -m tests.store.killed PROFILES` writes a line to stdout after each group of reviews, to be killed from outside.
`python -m tests.store.killed N=PROFILES ...` lets one process per store kill itself right before its Nth write to LanceDB
(rows added or deleted, pieces joined), and writes each one's exit status.
"""

from __future__ import annotations

import os
import signal
import sys

from lancedb.table import LanceTable

from depcli.store import Store
from depcli.store.ingest import ingest
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

    for name in ("add", "delete", "optimize", "restore"):
        setattr(LanceTable, name, wrapped(getattr(LanceTable, name)))


def run(path: str) -> None:
    store = Store.open(path)
    ingest(store, entries_for_killing(), MadeEmbedder(), source="killed", chunk=CHUNK, on_progress=say)
    with store.writer() as writer:
        writer.tidy(force=True)


def say(event: dict) -> None:
    sys.stdout.write(f"{event['reviews_committed']}\n")
    sys.stdout.flush()


def run_killed(path: str, limit: int) -> int:
    """The exit status of a child that dies before its write number `limit`. The fork saves importing LanceDB again."""
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr
        count_writes(limit)
        run(path)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if "=" not in sys.argv[1]:
        run(sys.argv[1])
    else:
        for argument in sys.argv[1:]:
            number, _, folder = argument.partition("=")
            sys.stdout.write(f"{run_killed(folder, int(number))}\n")
