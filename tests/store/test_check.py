"""Damage of every kind is planted in a store and must be found; what is no damage must not be called so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from depcli.records import EmbedderIdentity, Item
from depcli.store import Store, commits, lineage, recompute, schema
from depcli.store.check import CheckReport, check
from tests.store.made import IDENTITY, D, contents, some_reviews, upsert, vector_of

LATEST = 2**64 - 1  # LanceDB names the manifest of version v 2**64 - 1 - v, so that the newest comes first


@pytest.fixture(scope="module")
def sound(tmp_path_factory, empty):
    """A profiles folder with reviews, replaced versions and items, in a few commits, to be copied."""
    path = tmp_path_factory.mktemp("sound") / "profiles"
    shutil.copytree(empty, path)
    store, reviews = Store.open(path), some_reviews()
    upsert(store, reviews[:40], [Item("item1", "One"), Item("unread", "Nobody wrote of it")])
    upsert(store, [*reviews[40:], *(replace(review, text=review.text + " again", timestamp=900.0) for review in reviews[:9])])
    with store.writer() as writer:
        writer.tidy(force=True)
    return path


@pytest.fixture
def filled(tmp_path, sound):
    """A store of one's own with the same."""
    shutil.copytree(sound, tmp_path / "profiles")
    return Store.open(tmp_path / "profiles")


def table_of(store, name: str):
    return lancedb.connect(str(store.folder)).open_table(name)


def commit_as_it_is(store) -> None:
    """Make the tables as they are now the newest commit, whatever has been done to them."""
    head = store.log()[-1]
    versions = {name: table_of(store, name).version for name in schema.DATA_TABLES}
    commits.append(table_of(store, "commits"), head.number + 1, "ingest", "planted", {}, versions, head.embedder)


def change_review(store, **values) -> None:
    """Give the row of user1 and item1 other values, whether or not they fit together."""
    table = table_of(store, "reviews")
    row = table.search().where("user_id = 'user1' and asin = 'item1'").to_arrow().to_pylist()[0]
    table.delete("user_id = 'user1' and asin = 'item1'")
    table.add(pa.Table.from_pylist([row | values], schema=schema.schemas(D)["reviews"]), on_bad_vectors="fill", fill_value=9.0)


def copy_review(store, **values) -> None:
    table = table_of(store, "reviews")
    row = table.search().where("user_id = 'user1' and asin = 'item1'").to_arrow().to_pylist()[0]
    table.add(pa.Table.from_pylist([row | values], schema=schema.schemas(D)["reviews"]))


def add_sum(store, asin: str) -> None:
    table_of(store, "item_sums").add(schema.sum_rows([asin], [1], np.ones((1, D))))


def change_total(store) -> None:
    table = table_of(store, "item_sums")
    found = schema.sums_of(table.to_arrow())["item1"]
    table.delete("asin = 'item1'")
    table.add(schema.sum_rows(["item1"], [found.reviews], found.total[None] + 1e-4))


def manifest(store, name: str, version: int) -> Path:
    return store.folder / f"{name}.lance" / "_versions" / f"{LATEST - version:020}.manifest"


def found_in(report: CheckReport) -> dict[str, int]:
    counts: dict[str, int] = {}
    for finding in report.findings:
        counts[finding.what] = counts.get(finding.what, 0) + finding.count
    return counts


def test_a_sound_store_is_found_sound(filled):
    report = check(filled)
    assert report.ok and not report.findings
    sizes = filled.snapshot().counts()
    reviews, versions = sizes["reviews"], list(filled.folder.glob("*.lance/_versions/*.manifest"))
    assert report.checked == {
        "commits": 4, "table versions": len(versions), "review keys": reviews, "text hashes": reviews,
        "vectors": reviews, "reviews": reviews, "item sums": 9, "items": 2, "indexes": 6,
    }  # fmt: skip
    assert (report.number, report.commit) == (3, filled.log()[-1].id)


def test_an_empty_store_is_sound(store):
    assert check(store).ok


DAMAGES = {
    "a sum is off": (change_total, {"item sums": 1}),
    "a sum has another count": (
        lambda store: table_of(store, "item_sums").update("asin = 'item1'", {"reviews": 99}), {"item sums": 1}
    ),
    "a sum is missing": (lambda store: table_of(store, "item_sums").delete("asin = 'item1'"), {"item sums": 1}),
    "a sum of an item without reviews": (lambda store: add_sum(store, "unread"), {"item sums": 1}),
    "two sums of an item": (lambda store: add_sum(store, "item1"), {"item sums": 2}),  # one is wrong, and one too many
    "a review is gone": (
        lambda store: table_of(store, "reviews").delete("user_id = 'user1' and asin = 'item1'"), {"item sums": 1}
    ),
    "a key is wrong": (lambda store: change_review(store, key=b"0" * 16), {"review keys": 1}),
    "a text hash is wrong": (lambda store: change_review(store, text_hash=b"0" * 16), {"text hashes": 1}),
    "another text": (lambda store: change_review(store, text="user 1 on item 1 agaim"), {"text hashes": 1}),
    "a vector too long": (lambda store: change_review(store, vector=vector_of("x") * 1.01), {"vectors": 1, "item sums": 1}),
    "a vector of zeros": (lambda store: change_review(store, vector=np.zeros(D)), {"vectors": 1, "item sums": 1}),
    "an infinite vector": (lambda store: change_review(store, vector=np.full(D, np.inf)), {"vectors": 1, "item sums": 1}),
    "a review twice": (copy_review, {"reviews": 1, "item sums": 1}),
    "a review twice under another key": (
        lambda store: copy_review(store, key=b"0" * 16, text="older", text_hash=schema.text_hash("older"), timestamp=1.0),
        {"reviews": 1, "review keys": 1, "item sums": 1},
    ),
    "an item twice": (lambda store: table_of(store, "items").add(schema.item_rows([Item("item1", "Uno")])), {"items": 1}),
    "an index is missing": (lambda store: table_of(store, "reviews").drop_index("user_id_idx"), {"indexes": 1}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(filled, damage):
    plant, expected = DAMAGES[damage]
    plant(filled)
    commit_as_it_is(filled)
    report = check(filled)
    assert not report.ok and found_in(report) == expected
    assert not any(finding.remedy for finding in report.findings)


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
    table = table_of(filled, "commits")
    manifest(filled, "commits", table.version).unlink()
    report = check(Store.open(filled.path))
    assert report.number == 2  # the older state, which would pass for the newest
    (finding,) = report.findings
    assert finding.what == "commits" and finding.message.startswith("the newest are lost") and finding.remedy


@pytest.mark.parametrize("name", ["reviews", "commits"])
def test_a_lost_version_in_the_middle_is_noticed(filled, name):
    lost = table_of(filled, name).version - 2
    manifest(filled, name, lost).unlink()
    report = check(filled)
    assert found_in(report) == {"table versions": 1} and f"{lost} of {name}" in report.findings[0].message


def test_lost_versions_that_commits_since_the_last_cleaning_need_are_noticed(filled):
    upsert(filled, [replace(some_reviews()[0], text="newer", timestamp=2000.0)])
    newest = table_of(filled, "reviews").version
    for version in range(1, newest):
        manifest(filled, "reviews", version).unlink(missing_ok=True)
    report = check(filled)
    assert found_in(report) == {"table versions": 1} and report.findings[0].message.endswith("is gone: 3")


def test_the_newest_version_of_a_table_is_lost(filled):
    manifest(filled, "item_sums", table_of(filled, "item_sums").version).unlink()
    found = found_in(check(filled))
    assert found["table versions"] == 1 and found["item_sums"] == 1


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
    assert "item_sums: written to after the newest commit" in report.notes[0] and "1 temporary files" in report.notes[1]
    with filled.writer():
        assert check(filled).notes[0] == "a writer is at work: what it has not committed is not part of this"
    assert not any("killed" in note or "at work" in note for note in check(filled).notes)


def test_checking_changes_nothing(filled):
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in filled.folder.rglob("*") if path.is_file()}

    table_of(filled, "item_sums").delete("true")
    before, seen = files(), contents(filled.snapshot())
    check(filled)
    assert files() == before and contents(filled.snapshot()) == seen


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
