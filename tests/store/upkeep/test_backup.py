"""A backup is one committed state, whatever goes on meanwhile; it opens, and work can go on in it."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys

import pytest

from depcli.errors import DepError
from depcli.store import Store
from depcli.store.upkeep import erase
from depcli.store.upkeep.backup import backup
from depcli.store.upkeep.check import check
from depcli.store.upkeep.compact import compact
from depcli.store.writing.ingest import ingest
from tests.store.disk.test_failures import little_room
from tests.store.made import MadeEmbedder, contents, entries_for_killing, some_reviews, upsert, worst_difference


def everything(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def filled(store):
    """A store of several commits, with an uncommitted piece of a killed writer."""
    ingest(store, entries_for_killing()[:90], MadeEmbedder(), source="first", chunk=30)
    (store.folder / "reviews.lance" / "data" / ".tmpLEFT").write_bytes(b"half a file")
    return store


def test_the_copy_is_the_newest_commit_with_its_past_and_private(filled, tmp_path):
    filled.folder.joinpath("reviews.lance").chmod(0o755)
    made = backup(filled, tmp_path / "deep" / "copy")
    copy = Store.open(tmp_path / "deep" / "copy")
    assert copy.log() == filled.log() and made.commit == filled.log()[-1]
    for commit in filled.log():
        assert contents(copy.snapshot(commit.id)) == contents(filled.snapshot(commit.id))
    assert made.counts == filled.snapshot().counts()
    assert made.bytes == sum(map(len, everything(copy.path).values()))
    assert not list(copy.folder.rglob(".tmp*")) and not list((tmp_path / "deep").glob(".copy*"))
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (copy.path, *copy.path.rglob("*")))
    assert check(copy).ok
    assert upsert(copy, some_reviews(users=30)).added and contents(filled.snapshot()) != contents(copy.snapshot())


def test_what_is_beside_the_store_comes_along(filled, tmp_path):
    for name, content in {
        "adapters/one/adapter_config.json": b"{}",
        "evaluations/x/predictions.jsonl": b"1\n",
        "other": b"no",
    }.items():
        (filled.path / name).parent.mkdir(parents=True, exist_ok=True)
        (filled.path / name).write_bytes(content)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "adapter_config.json").write_text("linked")
    (filled.path / "adapters/two").symlink_to(elsewhere)
    backup(filled, tmp_path / "copy", ("adapters", "evaluations", "missing"))
    beside = {str(path): content for path, content in everything(tmp_path / "copy").items() if path.parts[0] != "store"}
    assert beside == {
        "adapters/one/adapter_config.json": b"{}",
        "adapters/two/adapter_config.json": b"linked",
        "evaluations/x/predictions.jsonl": b"1\n",
    }


def test_nothing_is_overwritten_and_no_copy_lies_within_itself(filled, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(DepError, match="is there already"):
            backup(filled, tmp_path / name)
    with pytest.raises(DepError, match="lies within"):
        backup(filled, filled.path / "adapters" / "copy")
    with pytest.raises(DepError, match="cannot copy .*(Not a directory|File exists)"):
        backup(filled, tmp_path / "file" / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link", "profiles"]
    assert not list((tmp_path / "folder").iterdir())


def test_a_copy_that_finds_no_room_says_so_and_leaves_nothing(filled, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with little_room(2_000), pytest.raises(DepError, match="cannot copy .*profiles to .*elsewhere") as found:
        backup(filled, tmp_path / "elsewhere" / "copy")
    assert "name another place" in found.value.hint and not list((tmp_path / "elsewhere").iterdir())


def test_a_file_among_the_versions_that_is_none_of_them(filled, tmp_path):
    versions = filled.folder / "reviews.lance" / "_versions"
    shutil.copy(next(versions.glob("*.manifest")), versions / "18446744073709551000 (copy).manifest")
    backup(filled, tmp_path / "copy")
    assert contents(Store.open(tmp_path / "copy").snapshot()) == contents(filled.snapshot())


def test_an_interrupted_backup_leaves_nothing(filled, tmp_path):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(filled, tmp_path / "new" / "copy", on_progress=interrupt)
    assert list((tmp_path / "new").iterdir()) == []


def test_while_another_process_ingests(store, tmp_path):
    command = [sys.executable, "-m", "tests.store.killed", str(store.path)]
    copies = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line):
                made = backup(store, tmp_path / f"copy{len(copies)}")
                copies.append((made, Store.open(tmp_path / f"copy{len(copies)}")))
    assert child.returncode == 0 and copies[0][0].commit.number < store.log()[-1].number
    whole = contents(store.snapshot())
    for made, copy in copies:
        assert copy.log() == store.log()[: made.commit.number + 1]
        assert contents(copy.snapshot()) == contents(store.snapshot(made.commit.id))
        assert worst_difference(copy.snapshot()) < 1e-12
    first = copies[0][1]
    ingest(first, entries_for_killing(), MadeEmbedder(), source="again")
    assert contents(first.snapshot()) == whole and check(first).ok


@pytest.mark.parametrize("moment", [1, 4, 9, 20, 60])
def test_nothing_forgotten_meanwhile_is_in_the_copy(filled, tmp_path, moment):
    calls = []

    def forget(done: int) -> None:
        calls.append(done)
        if len(calls) == moment:
            with filled.writer() as writer:
                erase.forget(writer.tables, ["user1"], [])

    backup(filled, tmp_path / "copy", on_progress=forget)
    assert len(calls) > moment and "user1" not in filled.snapshot().user_ids()
    copy = Store.open(tmp_path / "copy")
    assert contents(copy.snapshot()) == contents(filled.snapshot()) and check(copy).ok
    assert not any(b"user1\0" in data or b"user 1 on" in data for data in everything(tmp_path / "copy").values())


@pytest.mark.parametrize("moment", [1, 5, 12, 40])
def test_compacting_meanwhile_costs_no_commit(filled, tmp_path, moment):
    calls = []

    def squeeze(done: int) -> None:
        calls.append(done)
        if len(calls) == moment:
            with filled.writer() as writer:
                compact(writer.tables, keep_days=0)

    made = backup(filled, tmp_path / "copy", on_progress=squeeze)
    copy = Store.open(tmp_path / "copy")
    assert made.commit == filled.log()[-1] and made.commit.action == "compact"
    assert contents(copy.snapshot()) == contents(filled.snapshot()) and check(copy).ok


def test_an_unfinished_forgetting_is_finished_first(filled, tmp_path):
    with filled.writer() as writer:
        erase.forget(writer.tables, ["user1"], [])
        number = writer.tables.head.number
    (filled.folder / "erasing").write_text(str(number))
    backup(filled, tmp_path / "copy")
    assert not erase.unfinished(filled.folder) and not erase.unfinished(tmp_path / "copy" / "store")
    assert contents(Store.open(tmp_path / "copy").snapshot()) == contents(filled.snapshot())


def test_links_that_lead_back_are_copied_once(store, tmp_path):
    upsert(store, some_reviews())
    (store.path / "evaluations" / "one").mkdir(parents=True)
    (store.path / "evaluations" / "one" / "a").write_text("a")
    (store.path / "evaluations" / "again").symlink_to("one")
    (store.path / "evaluations" / "here").symlink_to(".")
    backup(store, tmp_path / "copy", ("evaluations",))
    found = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy" / "evaluations").rglob("a")}
    assert found == {"evaluations/one/a", "evaluations/again/a"}
