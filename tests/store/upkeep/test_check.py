"""What is checked, what is damage beyond repair, and what is no damage. (Damage that can be mended: test_repair.py.)"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depcli.records import EmbedderIdentity
from depcli.store import Store, commits
from depcli.store.upkeep import erase, lineage, recompute
from depcli.store.upkeep.check import check
from tests.store.damage import change_total, commit_as_it_is, found_in, table_of
from tests.store.made import IDENTITY, D, contents, some_reviews, upsert

LATEST = 2**64 - 1  # LanceDB names the manifest of version v 2**64 - 1 - v, so that the newest comes first


def manifest(store, name: str, version: int) -> Path:
    return store.folder / f"{name}.lance" / "_versions" / f"{LATEST - version:020}.manifest"


def test_a_sound_store_is_found_sound(filled):
    report = check(filled)
    assert report.ok and not report.findings
    sizes = filled.snapshot().counts()
    reviews, versions = sizes["reviews"], list(filled.folder.glob("*.lance/_versions/*.manifest"))
    assert report.checked == {
        "commits": 4,
        "table versions": len(versions),
        "review keys": reviews,
        "text hashes": reviews,
        "vectors": reviews,
        "reviews": reviews,
        "item sums": 9,
        "items": 2,
        "indexes": 6,
    }
    assert (report.number, report.commit) == (3, filled.log()[-1].id)


def test_an_empty_store_is_sound(store):
    assert check(store).ok


def test_examples_name_rows_and_are_few(filled):
    table_of(filled, "item_sums").update("true", {"reviews": 1})
    commit_as_it_is(filled)
    (finding,) = check(filled).findings
    assert finding.count == 9 and len(finding.examples) == 3
    assert all(example.startswith("item item") and "1 reviews in the sum" in example for example in finding.examples)


def test_sums_are_compared_in_as_many_slices_as_memory_asks_for(filled, monkeypatch):
    change_total(filled)
    commit_as_it_is(filled)
    monkeypatch.setattr(recompute, "_TOTALS_BYTES", 2 * 8 * D)
    report = check(filled)
    assert found_in(report) == {"item sums": 1} and report.checked["item sums"] == 9
    (example,) = report.findings[0].examples
    assert example.startswith("item item1: ") and example.endswith("off by up to 0.0001")


def test_vectors_of_an_embedder_that_does_not_normalize_may_have_any_norm(tmp_path):
    store = Store.create(tmp_path / "profiles", replace(IDENTITY, normalized=False))
    with store.writer() as writer:
        writer.upsert(some_reviews()[:2], np.full((2, D), 7.0, np.float32), source="test")
    assert check(store).ok


def test_a_lost_newest_commit_is_noticed(filled):
    upsert(filled, [replace(some_reviews()[0], text="the newest", timestamp=2000.0)])
    number = filled.log()[-1].number
    manifest(filled, "commits", table_of(filled, "commits").version).unlink()
    report = check(Store.open(filled.path))
    assert report.number == number - 1  # the older state, which would pass for the newest
    (finding,) = report.findings
    assert finding.what == "commits" and finding.message.startswith("the newest are lost") and finding.remedy


def test_a_lost_state_of_an_earlier_commit_is_noticed(filled):
    lost = filled.log()[1].versions["reviews"]
    manifest(filled, "reviews", lost).unlink()
    (finding,) = check(filled).findings
    assert finding.message == "reviews as of these commits is gone: 1" and "dep compact" in finding.remedy


def test_the_newest_version_of_a_table_is_lost(filled):
    manifest(filled, "item_sums", table_of(filled, "item_sums").version).unlink()
    gone, unreadable = check(filled).findings
    assert gone.message.startswith("item_sums as of these commits is gone: ") and gone.message.endswith("3")
    assert "backup" in gone.remedy
    assert unreadable.what == "item_sums" and "cannot be read" in unreadable.message


@pytest.mark.parametrize("part", ["data", "_indices"])
def test_files_that_cannot_be_read_are_findings_and_the_rest_is_checked(filled, part):
    for file in (filled.folder / "reviews.lance" / part).rglob("*"):
        if file.is_file():
            file.write_bytes(b"noise")
    report = check(filled)
    assert report.checked["items"] == 2
    assert any("cannot be read" in finding.message for finding in report.findings)


def test_commits_that_contradict_each_other(filled):
    table, log = table_of(filled, "commits"), filled.log()
    table.delete("number = 1")
    commits.append(table, 3, "ingest", "", {}, log[1].versions, IDENTITY)
    commits.append(table, 4, "ingest", "", {}, log[3].versions, EmbedderIdentity("other", "1", D))
    messages = [finding.message for finding in check(filled).findings if finding.what == "commits"]
    assert len(messages) == 3 and messages[0] == "missing: 1" and "same number" in messages[1] and messages[2].endswith(": 3, 4")


def test_what_a_killed_writer_left_is_no_damage(filled):
    table_of(filled, "item_sums").delete("true")
    (filled.folder / "reviews.lance" / "data" / ".tmpLEFT").write_bytes(b"half a file")
    report = check(filled)  # of the state that is committed, which is sound
    assert report.ok
    assert (
        "item_sums: written to after the newest commit" in report.notes[0]
        and "temporary files of a writer that was killed (1)" in report.notes[1]
    )
    with filled.writer():
        assert check(filled).notes[0] == "a writer is at work: what it has not committed is not part of this"
    assert not any("killed" in note or "at work" in note for note in check(filled).notes)


def test_a_commit_that_comes_while_the_log_is_looked_at_is_no_trace_of_a_kill(filled):
    log = filled.log()
    upsert(filled, [replace(some_reviews()[0], text="the newest", timestamp=2000.0)])
    assert not any("killed" in note for note in lineage.check(filled.folder, log)[1])


def test_checking_changes_nothing(filled):
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in filled.folder.rglob("*") if path.is_file()}

    table_of(filled, "item_sums").delete("true")
    before, seen = files(), contents(filled.snapshot())
    check(filled)
    assert files() == before and contents(filled.snapshot()) == seen


def test_a_commit_that_is_erased_while_it_is_checked(filled):
    def erase_it(what: str, done: int, total: int) -> None:
        if what == "reviews" and len(filled.log()) == 4:
            with filled.writer() as writer:
                erase.forget(writer.tables, ["user1"], [])

    report = check(filled, erase_it)
    assert report.ok and report.number == 4


def test_progress_says_what_is_under_way(filled):
    events = []
    check(filled, lambda *event: events.append(event))
    reviews = filled.snapshot().counts()["reviews"]
    assert events[-2:] == [("reviews", reviews, reviews), ("item sums", 9, 9)]


def test_a_broken_hint_of_lance_is_no_matter(filled):
    hint = filled.folder / "commits.lance" / "_versions" / "latest_version_hint.json"
    assert json.loads(hint.read_text())["version"] == table_of(filled, "commits").version
    for text in (b"", b"[1]", b'{"version": null}', b"\xff"):
        hint.write_bytes(text)
        assert lineage.check(filled.folder, filled.log())[0] == []
