"""One writer at a time, and no lock that outlives its process."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys

import pytest

from depcli.errors import DepError, StoreBusy
from depcli.store import Store
from depcli.system.lock import is_held
from tests.store.made import IDENTITY, some_reviews, upsert, vectors_of

HOLD = """
import sys
from pathlib import Path
from depcli.store.disk.lock import write_lock
with write_lock(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.fixture
def holder(store):
    """Another process that holds the lock of the store until it is killed or its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(store.folder / "write.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_busy_store_names_its_writer_and_waiting_ends_with_it(store, holder):
    with pytest.raises(StoreBusy, match=f"pid {holder.pid}"), store.writer(wait=False):
        pass
    assert store.snapshot().counts()["reviews"] == 0  # reading needs no lock
    waited_for = []

    def on_wait(pid: str) -> None:
        waited_for.append(pid)
        holder.kill()

    with store.writer(on_wait=on_wait) as writer:
        assert writer.head.number == 0
        assert (store.folder / "write.lock").read_text() == f"{os.getpid()}\n"
    assert waited_for == [str(holder.pid)]


def test_the_number_of_a_dead_process_in_the_file_means_nothing(store):
    (store.folder / "write.lock").write_text("1\n")
    with store.writer(wait=False):
        pass
    assert stat.S_IMODE((store.folder / "write.lock").stat().st_mode) == 0o600


def test_an_error_inside_gives_the_lock_back(store):
    with pytest.raises(ZeroDivisionError), store.writer():
        raise ZeroDivisionError
    assert upsert(Store.open(store.path), some_reviews()).added == len(some_reviews())


@pytest.mark.parametrize("take_away", [lambda folder: folder.rename(folder.parent / "moved"), shutil.rmtree])
def test_a_folder_that_is_moved_while_it_is_written_to_is_left_as_it_was(store, take_away):
    """LanceDB would begin a new store under the old name, and report success."""
    with pytest.raises(DepError, match="was moved, deleted or replaced") as caught, store.writer() as writer:
        writer.upsert(some_reviews()[:5], vectors_of(some_reviews()[:5]), source="test")
        take_away(store.path)
        writer.upsert(some_reviews(), vectors_of(some_reviews()), source="test")
    assert "--profiles" in caught.value.hint and not store.path.exists()
    moved = store.path.parent / "moved"
    assert not moved.exists() or Store.open(moved).snapshot().counts()["reviews"] == 5


def test_a_lock_that_was_replaced_while_waiting_for_it_is_worth_nothing(store, holder):
    def on_wait(pid: str) -> None:
        shutil.rmtree(store.path)
        Store.create(store.path, IDENTITY)
        holder.kill()

    with pytest.raises(DepError, match="was moved, deleted or replaced"), store.writer(on_wait=on_wait):
        pass


def test_a_file_system_without_locks_is_said_and_can_be_read(store, monkeypatch):
    def no_lock(descriptor, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    upsert(store, some_reviews())
    monkeypatch.setattr(fcntl, "flock", no_lock)
    with pytest.raises(DepError, match="has no locks") as error, store.writer():
        pass
    assert "a disk of this machine" in error.value.hint
    assert not is_held(store.folder / "write.lock") and store.snapshot().counts()["reviews"] == len(some_reviews())
