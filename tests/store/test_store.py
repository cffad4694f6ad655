"""Making, opening and reading a store as a whole."""

from __future__ import annotations

import stat
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from depcli.errors import BadInput, DepError, Incompatible, NotFound
from depcli.records import EmbedderIdentity, Item, Review, stable_order
from depcli.store import Store, schema
from tests.store.made import IDENTITY, D, contents, some_reviews, upsert, vector_of


def test_a_store_is_opened_with_what_it_was_made_with(store):
    assert Store.open(store.path).embedder == Store.create(store.path, IDENTITY).embedder == IDENTITY
    assert store.snapshot().counts() == {"reviews": 0, "users": 0, "items": 0}
    assert store.snapshot().commit.action == "create"


def test_folders_without_a_store(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(NotFound) as caught:
            Store.open(path)
        assert "dep ingest" in caught.value.hint
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(DepError, match="a file is in the way"):
        Store.create(tmp_path / "file", IDENTITY)


@pytest.mark.parametrize(
    "name", ["~", "~/profiles", "s3:/bucket", "memory:x", "file:x", "a:b", "link/../profiles", "a b#c?d%20'\"\\漢"]
)
def test_a_path_is_a_path_whatever_it_looks_like(tmp_path, monkeypatch, name):
    """LanceDB takes `~` for the home folder and `s3:` for a service, and does not follow the link before the dots."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    at_home = [Store.create(tmp_path / "home", IDENTITY), Store.create(tmp_path / "home" / "profiles", IDENTITY)]
    for store in at_home:
        upsert(store, some_reviews())
    upsert(Store.create(name, IDENTITY), [Review("u", "i", "text")])
    assert Store.open(name).snapshot().counts()["reviews"] == 1
    assert (Path(name) / "store" / "reviews.lance").is_dir()
    assert [store.snapshot().counts()["reviews"] for store in at_home] == [len(some_reviews())] * 2


@pytest.mark.parametrize("name", ["a\nb", "caf\udce9"])
def test_a_path_that_no_table_can_have_is_refused(tmp_path, name):
    with pytest.raises(BadInput, match="its path has") as caught:
        Store.create(tmp_path / name, IDENTITY)
    assert "--profiles" in caught.value.hint


@pytest.mark.parametrize("change", [{"name": "other"}, {"revision": "2"}, {"dimension": 8}, {"normalized": False}])
def test_another_embedder_is_refused_with_the_remedy(store, change):
    with pytest.raises(Incompatible, match="was made with made") as caught:
        Store.create(store.path, EmbedderIdentity(**{**vars(IDENTITY), **change}))
    assert "--embedder made" in caught.value.hint and "--profiles" in caught.value.hint


def test_a_store_of_a_newer_format_is_refused(store):
    commits = lancedb.connect(str(store.folder)).open_table("commits")
    row = commits.search().limit(1).to_arrow().to_pylist()[0]
    commits.add(pa.Table.from_pylist([{**row, "number": 1, "format": 2}], schema=commits.schema))
    for attempt in (lambda: Store.open(store.path), lambda: Store.create(store.path, IDENTITY), store.snapshot):
        with pytest.raises(Incompatible, match="format 2, this dep reads up to 1"):
            attempt()


@pytest.mark.parametrize("left", [[], ["reviews"], ["reviews", "items", "item_sums"], list(schema.schemas(D))])
def test_a_store_whose_making_was_killed_is_made_anew(store, left):
    db = lancedb.connect(str(store.folder))
    for name in ("reviews", "items", "item_sums", "commits"):
        if name not in left:
            db.drop_table(name)
    if "commits" in left:
        db.open_table("commits").delete("true")
    with pytest.raises(NotFound):
        Store.open(store.path)
    upsert(Store.create(store.path, IDENTITY), some_reviews())
    assert store.snapshot().counts()["reviews"] == len(some_reviews())


def test_what_goes_in_comes_out_in_the_stable_order(store):
    reviews, items = some_reviews(), [Item("item1", "One", "first\nsecond"), Item("unread", "", "nobody wrote of it")]
    counts = upsert(store, reviews[::-1], items)
    assert (counts.added, counts.replaced, counts.unchanged, counts.items) == (len(reviews), 0, 0, 2)
    snapshot = Store.open(store.path).snapshot()
    assert snapshot.counts() == {"reviews": len(reviews), "users": 12, "items": 10}
    assert snapshot.user_ids() == sorted({review.user_id for review in reviews})
    histories = snapshot.histories([*snapshot.user_ids(), "user1", "stranger"])
    assert list(histories) != [] and "stranger" not in histories
    for user, history in histories.items():
        expected = sorted((review for review in reviews if review.user_id == user), key=stable_order)
        assert [entry.review for entry in history] == expected
        for entry in history:
            assert entry.vector.dtype == np.float32 and (entry.vector == vector_of(entry.review.text)).all()
    assert snapshot.items(["item1", "item2", "unread"]) == {item.asin: item for item in items}
    assert snapshot.sums(["unread", "nothing"]) == {}
    assert snapshot.sums(["item1"])["item1"].total.dtype == np.float64
    assert snapshot.histories([]) == {} and snapshot.items([]) == {} and snapshot.sums([]) == {}


HOSTILE = ["../x", "O'Brien", 'a" OR 1=1', "x' OR 1=1 --", "💜", "a\x00b", "[b]red[/b]", "\\", "%", "`", "a\nb", " a", "a"]
HOSTILE += ["A", "\u00e4", "a\u0308"]  # the last two look the same


def test_ids_are_data_whatever_they_contain(store):
    reviews = [Review(user, asin, f"{user}|{asin}", 3.0, asin, 1.0) for user in HOSTILE for asin in HOSTILE[:9]]
    items = [Item(asin, asin, asin) for asin in HOSTILE]
    upsert(store, reviews, items)
    assert upsert(store, reviews, items).unchanged == len(reviews)
    snapshot = store.snapshot()
    assert snapshot.user_ids() == sorted(HOSTILE)
    for user in HOSTILE:
        assert snapshot.has_user(user)
        assert {entry.review for entry in snapshot.histories([user])[user]} == {r for r in reviews if r.user_id == user}
    assert snapshot.items(HOSTILE) == {item.asin: item for item in items}
    assert {asin: s.reviews for asin, s in snapshot.sums(HOSTILE).items()} == dict.fromkeys(HOSTILE[:9], len(HOSTILE))
    for stranger in ("' OR 1=1 --", "", "*", "\udcff", "a\x00"):
        assert not snapshot.has_user(stranger) and not snapshot.histories([stranger])


def test_users_and_items_whose_names_run_into_each_other_stay_apart(store):
    upsert(store, [Review("ab", "c", "one"), Review("a", "bc", "two"), Review("", "abc", "three")])
    assert store.snapshot().counts()["reviews"] == 3


def test_long_and_odd_texts_come_back_unchanged(store):
    texts = ["x" * 1_000_000, "\x00\x01\x1b[31m[b]", "💜" * 5000, "line\r\nline\u2028", " "]
    upsert(store, [Review("u", f"i{n}", text, title=text[:50]) for n, text in enumerate(texts)])
    history = store.snapshot().histories(["u"])["u"]
    assert [entry.review.text for entry in history] == texts and history[1].review.title == texts[1]


def test_more_users_than_fit_into_one_query(store):
    upsert(store, [Review(f"u{n}", f"i{n}", f"text {n}") for n in range(5000)])
    snapshot = store.snapshot()
    assert len(snapshot.histories(snapshot.user_ids())) == len(snapshot.sums([f"i{n}" for n in range(5000)])) == 5000


def test_each_commit_can_be_read_again(store):
    reviews = some_reviews()
    upsert(store, reviews[:20], source="first")
    before = contents(store.snapshot())
    upsert(store, reviews[20:], source="second")
    with store.writer() as writer:
        writer.tidy(force=True)
    log = store.log()
    assert [(commit.number, commit.action, commit.source) for commit in log] == [
        (0, "create", ""),
        (1, "ingest", "first"),
        (2, "ingest", "second"),
        (3, "compact", ""),
    ]
    assert (
        log[1].counts == {"added": 20, "replaced": 0, "unchanged": 0, "outdated": 0, "items": 0}
        and len({commit.id for commit in log}) == 4
    )
    assert contents(store.snapshot("1")) == contents(store.snapshot(log[1].id)) == before
    assert contents(store.snapshot("2")) == contents(store.snapshot()) != before
    with pytest.raises(NotFound, match="no commit 9") as caught:
        store.snapshot("9")
    assert "from 0 to 3" in caught.value.hint


def test_tidying_joins_the_pieces_and_changes_nothing(store):
    for review in some_reviews()[:12]:
        upsert(store, [review])
    table = lancedb.connect(str(store.folder)).open_table("reviews")
    assert table.stats()["fragment_stats"]["num_fragments"] == 12
    before = contents(store.snapshot())
    with store.writer() as writer:
        writer.tidy()
        assert writer.head.action == "ingest"  # too little to do
        writer.tidy(force=True)
        assert writer.head.action == "compact"
    table.checkout_latest()
    assert table.stats()["fragment_stats"]["num_fragments"] == 1
    assert all(table.index_stats(f"{name}_idx").num_unindexed_rows == 0 for name in ("key", "user_id", "text_hash"))
    assert contents(store.snapshot()) == before


def test_nobody_else_gets_into_the_folder(store):
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
