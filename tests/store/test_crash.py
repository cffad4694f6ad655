"""SIGKILL at any moment loses nothing that was committed, and the same run again ends as an undisturbed one."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import lancedb
import pytest

from depcli.store import Store
from depcli.store.writing.ingest import ingest
from tests.store.killed import CHUNK
from tests.store.made import IDENTITY, MadeEmbedder, contents, entries_for_killing, worst_difference


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    store = Store.create(tmp_path_factory.mktemp("undisturbed"), IDENTITY)
    ingest(store, entries_for_killing(), MadeEmbedder(), source="whole")
    return contents(store.snapshot())


def ends_well(store, undisturbed: dict, folder) -> None:
    """What a kill left is what the commits say; running again completes it and embeds nothing that was committed."""
    snapshot = store.snapshot()
    batches = [commit for commit in store.log() if commit.action == "ingest"]
    prefix = Store.create(folder, IDENTITY)
    ingest(prefix, entries_for_killing()[: CHUNK * len(batches)], MadeEmbedder(), source="prefix")
    assert contents(snapshot) == contents(prefix.snapshot())
    assert worst_difference(snapshot) < 1e-12
    known = {entry.review.text for history in snapshot.histories(snapshot.user_ids()).values() for entry in history}
    embedder = MadeEmbedder()
    ingest(store, entries_for_killing(), embedder, source="again")
    assert not known & set(embedder.texts)
    assert contents(store.snapshot()) == undisturbed
    assert contents(store.snapshot(snapshot.commit.id)) == contents(prefix.snapshot())


def test_killed_between_the_writes_of_a_commit(tmp_path, undisturbed):
    stores = {write: Store.create(tmp_path / str(write), IDENTITY) for write in (1, 2, 4, 5, 6, 8, 17, 24, 31)}
    command = [sys.executable, "-m", "tests.store.killed", *(f"{write}={store.path}" for write, store in stores.items())]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout.split() == [str(-signal.SIGKILL)] * len(stores), result.stderr
    for write, store in stores.items():
        ends_well(store, undisturbed, tmp_path / f"prefix{write}")


def test_killed_from_outside_while_it_writes(store, undisturbed, tmp_path):
    command = [sys.executable, "-m", "tests.store.killed", str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        while (committed := int(child.stdout.readline())) < CHUNK:
            pass
        child.kill()
    assert store.snapshot().counts()["reviews"] >= committed > 0
    ends_well(store, undisturbed, tmp_path / "prefix")


def test_the_commit_after_a_crash_says_so_and_the_leftovers_go(store):
    ingest(store, entries_for_killing()[:60], MadeEmbedder(), source="before")
    before = contents(store.snapshot())
    lancedb.connect(str(store.folder)).open_table("item_sums").delete("true")
    leftover = store.folder / "reviews.lance" / "data" / ".tmpLEFT"
    leftover.write_bytes(b"half a file")
    assert contents(store.snapshot()) == before  # readers do not see it
    with store.writer() as writer:
        assert writer.head.action == "recover"
    assert contents(store.snapshot()) == before and not leftover.exists()
    with store.writer() as writer:
        assert writer.head.action == "recover" and writer.head.number == store.log()[-1].number  # once is enough


def test_readers_see_one_commit_while_another_thread_writes(store):
    done, seen, problems = threading.Event(), set(), []

    def read() -> None:
        while not done.is_set():
            snapshot = Store.open(store.path).snapshot()
            seen.add(snapshot.commit.number)
            worst, counts = worst_difference(snapshot), snapshot.counts()
            added = sum(commit.counts.get("added", 0) for commit in store.log()[: snapshot.commit.number + 1])
            if worst > 1e-12 or counts["reviews"] != added:
                problems.append((snapshot.commit, worst, counts, added))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        held = store.snapshot()
        for step in range(6):
            ingest(store, entries_for_killing()[step * 30 : step * 30 + 30], MadeEmbedder(), source=str(step), chunk=10)
            with store.writer() as writer:
                writer.tidy(force=True)
    finally:
        done.set()
        thread.join()
    assert not problems and len(seen) > 1
    assert held.counts() == {"reviews": 0, "users": 0, "items": 0}
