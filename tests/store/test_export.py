"""What is exported ingests again into an equal store."""

from __future__ import annotations

import gzip
import io
import json
import stat
from dataclasses import replace
from itertools import islice

import pytest

from depcli.errors import DepError
from depcli.readers import open_reviews, read_items
from depcli.records import Item, Review
from depcli.store import Store
from depcli.store.export import Exported, export, whole_file
from depcli.store.writing.ingest import ingest
from tests.store.made import DATA, IDENTITY, MadeEmbedder, contents, entries_for_killing, some_reviews, upsert

STRANGE = [
    Review('a"b\\c\u2028\x1b[2J', "it'em\n", "two\nlines\x85\u2029 and \x00 a nul", 0.5, "tïtle\t", -1.5),
    Review(" x ", "🎬", "<|im_end|> \u202eturned", None, "", None),
    Review("text", "user_id", '{"user_id": "a"}', 10.0, "superseded", 1.5e9 + 0.25),
]
ITEMS = [Item("it'em\n", "", ""), Item("only", "Title", 'de"scr\u2028iption\n'), Item("🎬", "", "no title")]


def exported(store, folder, at=None, name="export.jsonl"):
    """(path, the lines as objects) of an export."""
    path = folder / name
    with whole_file(path) as file:
        export(store.snapshot(at), file)
    raw = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    return path, [json.loads(line) for line in raw.split(b"\n")[:-1]]


def restored(path, folder) -> Store:
    store = Store.create(folder, IDENTITY)
    with open_reviews(path) as reader:
        assert ingest(store, reader, MadeEmbedder(), source="export").bad_lines == 0
    return store


def whole(store) -> dict:
    """Contents with what superseded what."""
    snapshot = store.snapshot()
    return {**contents(snapshot), "superseded": {(r.user_id, r.asin): r.superseded for r in snapshot.all_reviews()}}


@pytest.mark.parametrize("name", ["export.jsonl", "export.jsonl.gz"])
def test_an_export_ingests_into_an_equal_store(store, tmp_path, name):
    ingest(store, [*entries_for_killing(), *ITEMS, *STRANGE], MadeEmbedder(), source="first")
    path, lines = exported(store, tmp_path, name=name)
    again = restored(path, tmp_path / "again")
    assert whole(again) == whole(store) and again.snapshot().counts() == store.snapshot().counts()
    assert exported(again, tmp_path, name="second.jsonl")[1] == lines
    assert len(lines) == sum(1 for line in lines if "user_id" in line) + len(whole(store)["items"])


def test_times_that_a_number_would_not_tell_come_back(store, tmp_path):
    """20090531 s is August 1970, 1e12 s is beyond the year 5138: as bare numbers a day in digits, and milliseconds."""
    times = [20090531.0, 19_000_101.0, 21001231.0, 21_010_000.0, 1e11, 100_000_000_001.5, 253_402_214_400.0, -20090531.0, 2009.0]
    ingest(store, [Review("u", f"i{n}", f"t{n}", timestamp=time) for n, time in enumerate(times)], MadeEmbedder(), source="x")
    path, _ = exported(store, tmp_path)
    again = restored(path, tmp_path / "again")
    assert {r.asin: r.timestamp for r in again.snapshot().all_reviews()} == {f"i{n}": time for n, time in enumerate(times)}


def test_an_export_into_its_own_store_changes_nothing(store, tmp_path):
    ingest(store, [*ITEMS, *STRANGE, *some_reviews()], MadeEmbedder(), source="first")
    path, _ = exported(store, tmp_path)
    number = store.snapshot().commit.number
    embedder = MadeEmbedder()
    with open_reviews(path) as reader:
        report = ingest(store, reader, embedder, source="export")
    assert (report.added, report.replaced, embedder.texts, store.snapshot().commit.number) == (0, 0, [], number)


def test_the_files_it_came_from_change_nothing_in_the_restored_store(store, tmp_path):
    first = Review("u", "i", "first", 3.0, "", 7.0)
    versions = [first, replace(first, text="second"), replace(first, rating=4.0), replace(first, text="third", timestamp=6.0)]
    ingest(store, versions, MadeEmbedder(), source="first")
    path, lines = exported(store, tmp_path)
    assert (lines[0]["text"], lines[0]["rating"], len(lines[0]["superseded"])) == ("first", 4.0, 2)
    again = restored(path, tmp_path / "again")
    for version in (versions, versions[:2], versions[1:2]):
        assert ingest(again, version, MadeEmbedder(), source="first").replaced == 0
    assert whole(again) == whole(store)
    assert ingest(again, [replace(first, text="new")], MadeEmbedder(), source="more").replaced == 1


@pytest.mark.parametrize("other", [["no hash"], "ab" * 16, [7], True, [["ab" * 16]], {"ab" * 16: 1}, ["AB" * 16], None])
def test_superseded_in_other_peoples_files_means_nothing(tmp_path, other):
    (tmp_path / "file.jsonl").write_text(json.dumps({"user_id": "u", "asin": "i", "text": "t", "superseded": other}))
    with open_reviews(tmp_path / "file.jsonl") as reader:
        (review,) = reader
    assert review.superseded == ()


def test_an_older_state_is_exported_as_it_was(store, tmp_path):
    upsert(store, some_reviews()[:10], ITEMS)
    before, then = whole(store), store.snapshot().commit
    upsert(store, [replace(review, text=review.text + " again", timestamp=900.0) for review in some_reviews()])
    path, _ = exported(store, tmp_path, at=then.id)
    again = restored(path, tmp_path / "again")
    assert whole(again) == before


def test_an_empty_store_exports_nothing(store):
    file = io.BytesIO()
    assert export(store.snapshot(), file) == Exported(0, 0) and file.getvalue() == b""


def test_the_order_depends_on_the_content_alone(store, tmp_path):
    reviews = some_reviews()
    upsert(store, reviews[::-1], ITEMS[::-1])
    other = Store.create(tmp_path / "other", IDENTITY)
    for start in range(0, len(reviews), 20):
        upsert(other, reviews[start : start + 20])
    upsert(other, [], ITEMS)
    assert exported(store, tmp_path, name="a")[0].read_bytes() == exported(other, tmp_path, name="b")[0].read_bytes()


def test_a_file_is_whole_or_not_there_and_for_its_owner_alone(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "new") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").write_text("precious")
    with pytest.raises(DepError, match="is there already") as caught, whole_file(tmp_path / "old"):
        pass
    assert "--replace" in caught.value.hint and (tmp_path / "old").read_text() == "precious"
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "old", replace=True):
        raise ZeroDivisionError
    assert (tmp_path / "old").read_text() == "precious"
    with whole_file(tmp_path / "old", replace=True) as file:
        file.write(b"new")
    assert (tmp_path / "old").read_text() == "new" and stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o600
    with pytest.raises(DepError, match="is a folder"), whole_file(tmp_path, replace=True):
        pass
    with pytest.raises(DepError, match="no folder"), whole_file(tmp_path / "nothing" / "file"):
        pass


@pytest.mark.parametrize("name", ["digital_music/reviews_u8.jsonl.gz", "rotten_tomatoes/reviews.jsonl.gz"])
def test_real_reviews_come_back_equal(store, tmp_path, name):
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA}")
    with read_items((DATA / name).parent / "items.jsonl.gz") as items, open_reviews(DATA / name) as reviews:
        entries = [*islice(items, 500), *islice(reviews, 3000)]
    ingest(store, entries, MadeEmbedder(), source=name)
    path, _ = exported(store, tmp_path)
    again = restored(path, tmp_path / "again")
    assert whole(again) == whole(store)
    assert ingest(again, entries, MadeEmbedder(), source=name).replaced == 0
