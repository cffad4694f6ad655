"""The profile store: reviews with their vectors, items, and per-item sums, in LanceDB tables behind one commit point."""

from __future__ import annotations

from depcli.store.commits import Commit
from depcli.store.snapshot import Snapshot
from depcli.store.store import Store
from depcli.store.writing.writer import Counts, Writer

__all__ = ["Commit", "Counts", "Snapshot", "Store", "Writer"]
