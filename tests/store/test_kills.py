"""Ingest, forget and compact killed at random moments, a dozen times; benchmarks/crash.py does the same by the hundred."""

from __future__ import annotations

import random

import pytest

from benchmarks.crash import ACTIONS, Harness
from depcli.store import Store, commits
from tests.store.damage import table_of


@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_random_moments(action, tmp_path):
    harness = Harness(action, tmp_path, random.Random(action))
    for _ in range(4):
        harness.kill()
    assert not harness.tally.problems
    assert (harness.tally.kills, harness.tally.sound, harness.tally.same_end) == (4, 4, 4)


def test_a_store_that_a_kill_did_harm_would_be_noticed(tmp_path):
    def drops_a_sum(path, limit):
        """Instead of a killed process: what no kill does."""
        store = Store.open(path)
        table_of(store, "item_sums").delete("asin = 'item-01'")
        versions = {name: table_of(store, name).version for name in ("reviews", "items", "item_sums")}
        commits.append(table_of(store, "commits"), store.log()[-1].number + 1, "ingest", "", {}, versions, store.embedder)

    harness = Harness("compact", tmp_path, random.Random(0))
    harness._run = drops_a_sum
    harness.kill()
    assert (harness.tally.sound, harness.tally.same_end) == (0, 0) and len(harness.tally.problems) >= 3
