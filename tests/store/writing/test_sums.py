"""What a writer keeps of the item sums is what the table holds, whatever goes wrong in between."""

from __future__ import annotations

from dataclasses import replace

import lancedb
import numpy as np
import pytest

from depcli.errors import DepError
from depcli.store.writing import sums
from tests.store.disk.test_failures import little_room
from tests.store.made import D, some_reviews, vectors_of, worst_difference

REVIEWS = some_reviews(users=30)


def write(writer, reviews) -> None:
    writer.upsert(reviews, vectors_of(reviews), source="test")


def test_many_batches_of_one_writer_about_the_same_items(store):
    newer = [replace(review, text=review.text + ", changed", timestamp=999.0) for review in REVIEWS[::4]]
    with store.writer() as writer:
        for start in range(0, len(REVIEWS), 17):
            write(writer, REVIEWS[start : start + 17])
            write(writer, newer[start // 17 :: 11])
            writer.tidy(force=start % 2 == 0)
    assert worst_difference(store.snapshot()) < 1e-12


@pytest.mark.parametrize("room", [0, 1, 5])
def test_more_items_than_are_kept(store, monkeypatch, room):
    monkeypatch.setattr(sums, "_KEPT_BYTES", room * 8 * D)
    test_many_batches_of_one_writer_about_the_same_items(store)
    assert len(store.snapshot().sums([f"item{n}" for n in range(9)])) == 9


def test_after_a_write_that_failed_the_same_writer_goes_on(store):
    with store.writer() as writer:
        write(writer, REVIEWS[:60])
        for size in (0, 200, 2000):
            with little_room(size), pytest.raises(DepError, match="no room left"):
                write(writer, REVIEWS[60:])
        with pytest.raises(DepError, match="NaN"):
            writer.upsert(REVIEWS[60:62], np.full((2, D), np.nan, np.float32), source="test")
        write(writer, REVIEWS[50:150])
        write(writer, REVIEWS[150:])
    assert worst_difference(store.snapshot()) < 1e-12
    assert store.snapshot().counts()["reviews"] == len(REVIEWS)


def test_what_somebody_else_does_to_the_table_is_seen(store):
    with store.writer() as writer:
        write(writer, REVIEWS[:60])
        table = lancedb.connect(str(store.folder)).open_table("item_sums")
        table.delete("true")  # not committed: rolled back
        writer.tables["item_sums"].checkout_latest()
        write(writer, REVIEWS[60:])
        assert [commit.action for commit in store.log()] == ["create", "ingest", "recover", "ingest"]
    assert worst_difference(store.snapshot()) < 1e-12
