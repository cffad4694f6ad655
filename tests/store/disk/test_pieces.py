"""Small pieces are joined, large ones stay in place, and nobody sees a difference."""

from __future__ import annotations

import lancedb
import numpy as np
import pytest

from depcli.records import Review
from depcli.store.disk import lance, pieces
from tests.store.made import D, contents, some_reviews, upsert, worst_difference


@pytest.fixture
def small(monkeypatch):
    """Pieces of ten rows are large."""
    monkeypatch.setattr(pieces, "_SMALL", 10)
    monkeypatch.setattr(pieces, "_ROWS_AT_ONCE", 40)


def reviews_table(store):
    return lancedb.connect(str(store.folder)).open_table("reviews")


def test_only_small_pieces_are_written_anew(store, small):
    reviews = some_reviews(users=30)
    cuts = [0, 20, 22, 25, 45, 46, 49, 52, 72, 73]
    for start, end in zip(cuts, cuts[1:], strict=False):
        upsert(store, reviews[start:end])
    before, table = contents(store.snapshot()), reviews_table(store)
    assert list(lance.fragment_rows(table).values()) == [20, 2, 3, 20, 1, 3, 3, 20, 1]
    with store.writer() as writer:
        writer.tidy(force=True)
    after = lance.fragment_rows(table := reviews_table(store))
    assert sorted(after.values()) == [13, 20, 20, 20] and {0, 3, 7} <= after.keys()
    assert all(index.num_unindexed_rows == 0 for index in table.list_indices())
    assert contents(store.snapshot()) == before and worst_difference(store.snapshot()) < 1e-12
    number = store.log()[-1].number
    with store.writer() as writer:
        writer.tidy(force=True)  # nothing left to do
    assert store.log()[-1].number == number


def test_rows_that_were_deleted_or_replaced_do_not_come_back(store, small):
    reviews = some_reviews(users=30)
    for start in range(0, 100, 5):
        upsert(store, reviews[start : start + 5])
        upsert(store, [Review(r.user_id, r.asin, r.text + " new", timestamp=9e9) for r in reviews[start : start + 2]])
    before = contents(store.snapshot())
    with store.writer() as writer:
        writer.tidy()
    assert len(lance.fragment_rows(reviews_table(store))) < 10
    assert contents(store.snapshot()) == before and store.snapshot().counts()["reviews"] == 100


def test_more_small_pieces_than_are_joined_at_once(store, small, monkeypatch):
    monkeypatch.setattr(pieces, "_PIECES_AT_ONCE", 4)
    for review in some_reviews()[:21]:
        upsert(store, [review])
    before = contents(store.snapshot())
    with store.writer() as writer:
        pieces.join(writer.tables["reviews"], 1)
        assert sorted(lance.fragment_rows(writer.tables["reviews"]).values()) == [1, 4, 4, 4, 4, 4]
        writer.tables.commit("compact", "", {})
    assert contents(store.snapshot()) == before


def test_killed_between_adding_and_deleting_leaves_nothing_twice(store):
    for review in some_reviews()[:5]:
        upsert(store, [review])
    before = contents(store.snapshot())
    with store.writer() as writer:
        table = writer.tables["reviews"]
        lance.add(table, [lance.rows_in(table, list(lance.fragment_rows(table)))])
        assert table.count_rows() == 10
    with store.writer() as writer:
        assert writer.head.action == "recover" and writer.tables["reviews"].count_rows() == 5
    assert contents(store.snapshot()) == before


def test_rows_without_index_are_found_and_indexed_in_time(store):
    vectors = np.random.default_rng(0).normal(size=(9000, D)).astype(np.float32)
    for part in range(3):
        with store.writer() as writer:
            writer.upsert([Review(f"u{n % 900}", f"{part} {n // 900}", f"{part} {n}") for n in range(9000)], vectors, source="")
            writer.tidy()
        assert len(store.snapshot().histories(["u7"])["u7"]) == 10 * (part + 1)
        assert lance.unindexed_rows(reviews_table(store)) == (0 if part == 2 else 9000 * (part + 1))
