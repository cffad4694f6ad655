"""Several processes at one store: writers take turns, and readers see one commit or another, never something between."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from depcli.errors import NotFound
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.writing.ingest import ingest
from tests.store.made import IDENTITY, MadeEmbedder, contents, some_reviews, worst_difference

os.environ.setdefault("PYTHONWARNINGS", "ignore:lancedb fork support is experimental")  # nothing has been opened at the fork
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.store.test_many"])


def put_in(path, part: int, parts: int, said) -> None:
    """Every `parts`-th review, in small commits; `said` gets whom it waited for, and in the end its own number."""
    reviews = some_reviews(users=30)[part::parts]
    on_wait = lambda holder: said.put(("waited for", holder))  # noqa: E731
    ingest(Store.open(path), reviews, MadeEmbedder(), source=str(part), chunk=9, on_wait=on_wait)
    said.put(("done", str(os.getpid())))


def all_kinds_of_writing(path) -> None:
    store, reviews = Store.open(path), some_reviews(users=30)
    for step in range(3):
        ingest(store, reviews[step::3], MadeEmbedder(), source=str(step), chunk=15)
        with store.writer() as writer:
            compact(writer.tables, keep_days=0)
            erase.forget(writer.tables, [f"user{step}"], [])


def stuck(path, ready) -> None:
    with Store.open(path).writer():
        ready.send(os.getpid())
        signal.pause()


def test_ingests_at_once_take_turns_and_lose_nothing(store, tmp_path):
    said = PROCESSES.Queue()
    writers = [PROCESSES.Process(target=put_in, args=(store.path, part, 3, said)) for part in range(3)]
    for process in writers:
        process.start()
    heard = []
    while sum(what == "done" for what, _ in heard) < 3:
        heard.append(said.get(timeout=120))
    for process in writers:
        process.join()
    assert {number for what, number in heard if what == "waited for"} <= {str(process.pid) for process in writers}
    assert check(store).ok
    plain = Store.create(tmp_path / "plain", IDENTITY)
    ingest(plain, some_reviews(users=30), MadeEmbedder(), source="one")
    assert contents(store.snapshot()) == contents(plain.snapshot())


def test_readers_see_whole_commits_while_another_process_adds_compacts_and_forgets(store):
    writer = PROCESSES.Process(target=all_kinds_of_writing, args=(store.path,))
    writer.start()
    seen = set()
    while writer.is_alive():
        reader = Store.open(store.path)
        try:
            snapshot = reader.snapshot()
            everything = contents(snapshot)
            assert worst_difference(snapshot) < 1e-12
            assert snapshot.counts()["reviews"] == sum(map(len, everything["reviews"].values()))
            seen.add(snapshot.commit.number)
        except NotFound as gone:  # erased while it was read: said, and never half a state
            assert "erased or compacted away" in gone.message or gone.message.startswith("somebody was forgotten since commit ")
    writer.join()
    assert writer.exitcode == 0 and len(seen) > 1
    assert check(store).ok and "user2" not in store.snapshot().user_ids()


def test_a_writer_that_is_killed_leaves_its_place_to_the_one_that_waits(store):
    here, there = PROCESSES.Pipe(duplex=False)
    holder = PROCESSES.Process(target=stuck, args=(store.path, there))
    holder.start()
    assert here.recv() == holder.pid
    waited_for = []

    def on_wait(pid: str) -> None:
        waited_for.append(pid)
        holder.kill()

    report = ingest(store, some_reviews(), MadeEmbedder(), source="waits", on_wait=on_wait)
    assert waited_for == [str(holder.pid)] and report.added == len(some_reviews())
    holder.join()
    assert holder.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("command", [["compact"], ["forget", "--user", "user1", "--yes"], ["check", "--repair"]])
def test_no_wait_names_the_holder_and_changes_nothing(store, capsys, command):
    from depcli.cli import main

    ingest(store, some_reviews(), MadeEmbedder(), source="before")
    before = contents(store.snapshot())
    with store.writer():
        assert main([*command, "--no-wait", "--profiles", str(store.path)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and f"another process (pid {os.getpid()}) is writing" in err and "--no-wait" in err
    assert contents(store.snapshot()) == before
