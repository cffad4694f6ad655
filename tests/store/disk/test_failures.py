"""A full disk, a folder without permission, a damaged file: clear words, and nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from depcli.errors import DepError
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.writing.ingest import ingest
from depcli.store.writing.writer import Counts
from tests.store.made import IDENTITY, D, MadeEmbedder, contents, some_reviews, upsert, vector_of

NOBODY = 65534


@contextmanager
def little_room(size: int):
    """No file may grow beyond `size` bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_rights(path: Path):
    """Nothing below `path` may be written, all may be read; as root, by being somebody else for a while."""
    for folder, _, files in os.walk(path):
        os.chmod(folder, 0o555)
        for file in files:
            os.chmod(os.path.join(folder, file), 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for folder, _, files in os.walk(path):
            os.chmod(folder, 0o755)
            for file in files:
                os.chmod(os.path.join(folder, file), 0o644)


@pytest.fixture
def open_folder():
    """A folder that everybody can reach, unlike tmp_path."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("size", [0, 200, 20_000])
def test_a_full_disk(store, size):
    upsert(store, some_reviews()[:30])
    before = contents(store.snapshot())
    reviews, random = some_reviews(users=200), np.random.default_rng(0)
    vectors = random.normal(size=(len(reviews), D)).astype(np.float32)
    with little_room(size), pytest.raises(DepError, match="no room left"), store.writer() as writer:
        writer.upsert(reviews, vectors, source="test")
    assert contents(store.snapshot()) == before
    ingest(store, some_reviews(), MadeEmbedder(), source="test")
    assert store.snapshot().counts()["reviews"] == len(some_reviews())


def test_a_writer_tries_again_what_failed_half_way(store):
    """The old row was deleted when the new one found no room: it must not count as missing."""
    old, new = Review("u", "i", "old", timestamp=1.0), Review("u", "i", "new", timestamp=2.0)
    with store.writer() as writer:
        writer.upsert([old], vector_of("old")[None], source="test")
        version = writer.tables["reviews"].version
        with little_room(2_000), pytest.raises(DepError, match="no room left"):
            writer.upsert([new], vector_of("new")[None], source="test")
        assert writer.tables["reviews"].version > version  # half-way indeed
        assert writer.upsert([new], vector_of("new")[None], source="test") == Counts(0, 1, 0, 0)
    assert [stored.review for stored in store.snapshot().histories(["u"])["u"]] == [new]


def test_item_sums_after_a_batch_that_failed_and_one_of_items_alone(store):
    """The sums of the failed batch must not count as written when the next commit has no reviews."""
    with store.writer() as writer:
        with little_room(0), pytest.raises(DepError, match="no room left"):
            writer.upsert([Review("u", "i", "lost")], vector_of("lost")[None], source="test")
        writer.upsert([], np.empty((0, D), np.float32), [Item("i", "a title")], source="test")
        writer.upsert([Review("v", "i", "kept")], vector_of("kept")[None], source="test")
    assert store.snapshot().sums(["i"])["i"].reviews == 1


def test_no_room_for_a_new_store(tmp_path):
    with little_room(100), pytest.raises(DepError, match="no room left"):
        Store.create(tmp_path / "new", IDENTITY)
    assert Store.create(tmp_path / "new", IDENTITY).snapshot().counts()["reviews"] == 0


def test_a_folder_that_may_be_read_but_not_written(open_folder):
    store = Store.create(open_folder / "profiles", IDENTITY)
    upsert(store, some_reviews())
    before = contents(store.snapshot())
    with no_rights(open_folder):
        assert contents(Store.open(store.path).snapshot()) == before
        with pytest.raises(DepError, match="no permission") as caught:
            ingest(store, some_reviews(users=20), MadeEmbedder(), source="test")
        assert "--profiles" in caught.value.hint
        with pytest.raises(DepError, match="no permission"):
            Store.create(open_folder / "new", IDENTITY)
    assert contents(store.snapshot()) == before


def test_a_folder_that_may_not_be_read(open_folder):
    store = Store.create(open_folder / "profiles", IDENTITY)
    if os.geteuid() != 0:
        store.folder.chmod(0)
    with no_rights(open_folder / "nothing"), pytest.raises(DepError, match="no permission"):
        Store.open(store.path)
    store.folder.chmod(0o700)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"noise"), lambda file: file.write_bytes(b"")])
def test_damaged_files(store, damage):
    upsert(store, some_reviews())
    for file in (store.folder / "reviews.lance" / "data").iterdir():
        damage(file)
    with pytest.raises(DepError, match="is damaged|failed"):
        Store.open(store.path).snapshot().histories(["user1"])


@pytest.mark.parametrize("size", [0, 10])
def test_a_list_of_deleted_rows_that_is_cut(filled, size):
    upsert(filled, [Review("user1", "item1", "newer", timestamp=1e6)])
    for file in filled.folder.glob("*.lance/_deletions/*.arrow"):
        file.write_bytes(file.read_bytes()[:size])
    for read in (lambda snapshot: snapshot.histories(["user1"]), lambda snapshot: snapshot.sums(["item1"])):
        with pytest.raises(DepError, match="is damaged"):
            read(Store.open(filled.path).snapshot())
