"""A power cut at any moment: every commit that was made is there, whole, and what was being written is as good as never begun."""

from __future__ import annotations

import errno
import os
import random
import stat
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest

from depcli.errors import DepError
from depcli.records import Item
from depcli.store import Store
from depcli.store.disk.durable import flush
from depcli.store.upkeep import erase
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.writing import ingest
from depcli.store.writing.tables import Tables
from tests.store.made import IDENTITY, MadeEmbedder, contents, some_reviews
from tests.store.power import Disk

REVIEWS = some_reviews()
ENTRIES = [
    Item("item1", "One"),
    *REVIEWS,
    *(replace(review, text=review.text + " again", timestamp=900.0) for review in REVIEWS[:9]),
]


def put_in(store: Store) -> None:
    ingest.ingest(store, ENTRIES, MadeEmbedder(), source="test", chunk=30)


def forget(store: Store) -> None:
    with store.writer() as writer:
        erase.forget(writer.tables, ["user1"], ["item4"])


def give_space_back(store: Store) -> None:
    with store.writer() as writer:
        compact(writer.tables, keep_days=0)


ACTIONS = {"ingest": put_in, "forget": forget, "compact": give_space_back}
EVERY = {"ingest": 61, "forget": 23, "compact": 19}  # waits for the disk between two cuts


class Watched:
    """Runs an action, and cuts the power, in a copy, before every `every`-th fsync."""

    def __init__(self, store: Store, folder: Path, monkeypatch, every: int):
        self.disk, self.cuts, self.made = Disk(store.path), [], store.log()[-1].number
        fsync, commit, one_by_one = os.fsync, Tables.commit, Lock()

        def spied_fsync(descriptor: int) -> None:
            with one_by_one:
                if self.disk.calls % every == 0:
                    for moments in (None, random.Random(self.disk.calls)):
                        cut = folder / str(len(self.cuts))
                        self.disk.after_power_cut(cut, moments)
                        self.cuts.append((cut, self.made))
                self.disk.fsync(descriptor)
            fsync(descriptor)

        def spied_commit(*arguments) -> None:
            commit(*arguments)
            self.made += 1

        monkeypatch.setattr(os, "fsync", spied_fsync)
        monkeypatch.setattr(Tables, "commit", spied_commit)


def opened(path: Path) -> Store:
    """The store after the cut. What a person has to do is what the error says."""
    try:
        store = Store.open(path)
        with store.writer():
            pass
    except DepError as error:
        assert "dep check --repair" in error.hint or "--repair mends" in error.hint
        Store.rescue(path)
        store = Store.open(path)
        with store.writer():
            pass
    return store


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_there_when_the_power_is_back(store, tmp_path, monkeypatch, action):
    monkeypatch.setattr(ingest, "READ_AHEAD", 8)
    monkeypatch.setattr(ingest, "BATCH_REVIEWS", 10)
    if action != "ingest":
        put_in(store)
    states = {store.log()[-1].number: contents(store.snapshot())}
    with monkeypatch.context() as patch:
        watched = Watched(store, tmp_path, patch, every=EVERY[action])
        ACTIONS[action](store)
    states |= {commit.number: contents(store.snapshot(commit.id)) for commit in store.log() if store.readable(commit)}
    assert len(watched.cuts) >= 6, watched.disk.calls
    torn = 0
    for path, made in watched.cuts:
        mended = opened(path)
        # LanceDB's note of the newest version may come to the disk before that version does: then check says what was cut off
        assert all("the newest are lost" in finding.message for finding in check(mended).findings)
        number = max(commit.number for commit in mended.log() if commit.action != "recover")
        torn += mended.log()[-1].action == "recover"
        assert made <= number <= made + 1, "a commit that was made is gone"
        assert contents(mended.snapshot()) == states[number]
    assert torn or action != "ingest"  # the cuts came in the midst of it


def test_without_waiting_for_the_disk_commits_are_lost(store, tmp_path, monkeypatch):
    """That the disk above forgets what nobody waited for."""
    disk = Disk(store.path)
    put_in(store)
    disk.after_power_cut(tmp_path / "cut")
    assert Store.open(tmp_path / "cut").snapshot().counts()["reviews"] == 0


def test_a_new_store_is_there_as_soon_as_it_was_made(tmp_path, monkeypatch):
    disk, fsync = Disk(tmp_path), os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (disk.fsync(descriptor), fsync(descriptor)))
    Store.create(tmp_path / "profiles", IDENTITY)
    monkeypatch.undo()
    disk.after_power_cut(tmp_path / "cut")
    assert check(Store.open(tmp_path / "cut" / "profiles")).ok


def test_what_was_forgotten_does_not_come_back(store, tmp_path, monkeypatch):
    put_in(store)
    disk, fsync = Disk(store.path), os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (disk.fsync(descriptor), fsync(descriptor)))
    forget(store)
    monkeypatch.undo()
    for number in range(4):
        cut = tmp_path / str(number)
        disk.after_power_cut(cut, random.Random(number) if number else None)
        assert not [file for file in cut.rglob("*") if file.is_file() and b"user 1 on" in file.read_bytes()]
        assert check(opened(cut)).ok


def test_where_folders_cannot_be_flushed_files_are(tmp_path, monkeypatch):
    """As on some network file systems. What is no folder still has to be on the disk."""
    flushed = []

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) or not flushed:
            flushed.append(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "t.lance").mkdir()
    (tmp_path / "t.lance" / "file").write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Invalid argument"):
        flush([tmp_path / "t.lance" / "file"], tmp_path)
    flush([tmp_path / "t.lance" / "file"], tmp_path)
