"""A disk that is full, and a folder that may not be written: ingest, forget and compact end with clear words, nothing is lost,
and the same command does its work once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from depcli.errors import DepError, NotFound
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.writing.ingest import ingest
from tests.store.disk.test_failures import little_room, no_rights, open_folder  # noqa: F401 (a fixture)
from tests.store.made import IDENTITY, MadeEmbedder, contents, entries_for_killing, some_reviews

NEW = some_reviews(users=40)


def put_in(store: Store) -> None:
    ingest(store, NEW, MadeEmbedder(), source="new", chunk=200)


def forget(store: Store) -> None:
    with store.writer() as writer:
        try:
            erase.forget(writer.tables, ["user1", "user7"], ["item4"])
        except NotFound:
            pass  # its commit stands, and opening the writer has finished the rest


def give_space_back(store: Store) -> None:
    with store.writer() as writer:
        compact(writer.tables, keep_days=0)


ACTIONS = {"ingest": put_in, "forget": forget, "compact": give_space_back}


@pytest.fixture(scope="module")
def many_pieces(tmp_path_factory) -> Path:
    """The profiles folder of a store with a dozen commits."""
    store = Store.create(tmp_path_factory.mktemp("pieces") / "profiles", IDENTITY)
    ingest(store, entries_for_killing(), MadeEmbedder(), source="before", chunk=25)
    return store.path


@pytest.fixture(scope="module")
def ends(many_pieces, tmp_path_factory) -> dict[str, dict]:
    """What each command makes of that store when nothing is in its way."""
    found = {}
    for name, action in ACTIONS.items():
        path = tmp_path_factory.mktemp("ends") / "profiles"
        shutil.copytree(many_pieces, path)
        action(Store.open(path))
        found[name] = contents(Store.open(path).snapshot())
    return found


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], capture_output=True, text=True
    )
    if not mounted or mounted.returncode:
        pytest.skip(f"this machine mounts no small disk: {mounted.stderr.strip() if mounted else 'there is no mount'}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def filled_up(store: Store, free: int) -> Path:
    """A file that leaves `free` bytes on the disk of the store."""
    ballast = store.path / "ballast"
    room = shutil.disk_usage(store.path).free
    ballast.write_bytes(bytes(max(0, room - free)))
    return ballast


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stands(store: Store, *states: dict) -> None:
    """The store is sound, but for an erasing to be finished, and shows one of these states (none given: any committed one)."""
    assert not [finding for finding in check(store).findings if finding.what != "erasing"]
    assert not states or contents(store.snapshot()) in states


@pytest.mark.parametrize("action", ACTIONS)
def test_a_disk_that_is_full(small_disk, many_pieces, ends, action):
    path = small_disk / "profiles"
    failures = 0
    for free in (0, 40_960, 131_072):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(many_pieces, path)
        store = Store.open(path)
        before, size = contents(store.snapshot()), size_of(path)
        ballast = filled_up(store, free)
        try:
            ACTIONS[action](store)
        except DepError as error:
            assert "no room left" in error.message and "run the same command again" in error.hint
            assert action == "ingest" or size_of(store.folder) <= size, "nothing is left that would take room from the next try"
            failures += 1
        stands(store, *([] if action == "ingest" else [before, ends[action]]))
        ballast.unlink()
        ACTIONS[action](store)
        assert check(store).ok and contents(store.snapshot()) == ends[action]
    assert failures


@pytest.mark.parametrize("action", ACTIONS)
def test_the_last_piece_of_any_file_that_finds_no_room(tmp_path, many_pieces, ends, action):
    """LanceDB takes such a file for whole (see store/disk/whole.py)."""
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(many_pieces, undisturbed)
    before = set(undisturbed.rglob("*"))
    ACTIONS[action](Store.open(undisturbed))
    new = [path for path in set(undisturbed.rglob("*")) - before if path.suffix in (".lance", ".arrow")]
    failures = 0
    sizes = sorted({path.stat().st_size for path in new})
    for size in sizes[:: len(sizes) // 5 + 1]:
        path = tmp_path / str(size)
        shutil.copytree(many_pieces, path)
        store = Store.open(path)
        with little_room(size - 1):
            try:
                ACTIONS[action](store)
            except DepError as error:
                assert "no room left" in error.message
                failures += 1
        stands(store, *([] if action == "ingest" else [contents(Store.open(many_pieces).snapshot()), ends[action]]))
        ACTIONS[action](store)
        assert check(store).ok and contents(store.snapshot()) == ends[action]
    assert failures


def test_a_store_that_may_only_be_read(open_folder, many_pieces):  # noqa: F811
    shutil.copytree(many_pieces, open_folder / "profiles")
    for folder, _, files in os.walk(open_folder):
        os.chmod(folder, 0o755)
        for file in files:
            os.chmod(Path(folder) / file, 0o644)
    store = Store.open(open_folder / "profiles")
    before = contents(store.snapshot())
    with no_rights(open_folder):
        for action in ACTIONS.values():
            with pytest.raises(DepError, match="no permission"):
                action(store)
        assert check(Store.open(store.path)).ok  # looking needs no right to write
    assert contents(store.snapshot()) == before
