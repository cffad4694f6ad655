"""The sieve never hides a value that the table holds, and lets hardly any other through."""

from __future__ import annotations

import lancedb
import numpy as np

from depcli.store import schema
from depcli.store.writing.known import Known
from tests.store.made import some_reviews, upsert

REVIEWS = some_reviews(users=200)
KEYS = schema.review_keys((review.user_id, review.asin) for review in REVIEWS)


def reviews_table(store):
    return lancedb.connect(str(store.folder)).open_table("reviews")


def test_what_is_stored_is_possible_and_what_is_not_is_left_out(store):
    upsert(store, REVIEWS[:600])
    known = Known(reviews_table(store), "key")
    assert known.possible(KEYS) == KEYS[:600]
    known.add(KEYS[600:900])
    known.add([])
    assert known.possible(KEYS[::-1]) == KEYS[:900][::-1]
    assert known.possible([]) == known.possible(KEYS[900:]) == []


def test_the_column_is_read_only_when_enough_was_asked_for(store):
    upsert(store, REVIEWS)
    known = Known(reviews_table(store), "key")
    strangers = [bytes([n]) * 16 for n in range(10)]
    known.add(strangers[:1])  # a row that is in the table before the column is read counts from the table
    assert known.possible(strangers) == strangers  # looking ten up is cheaper than reading more than a thousand
    assert known.possible(strangers * 10) == []
    known.add(strangers[:1])
    assert known.possible(strangers) == strangers[:1]


def test_an_empty_table_holds_nothing_and_texts_work_as_well(store):
    known = Known(reviews_table(store), "asin")
    assert known.possible(["item1", "", "💜"]) == []
    known.add(["item1", "💜"])
    assert known.possible(["item1", "", "💜", "x"]) == ["item1", "💜"]


def test_random_sets_against_plain_ones(store):
    random, known, plain = np.random.default_rng(3), Known(reviews_table(store), "key"), set()
    for _ in range(30):
        values = [random.bytes(1) for _ in range(int(random.integers(0, 20)))]
        assert set(known.possible(values)) == set(values) & plain
        known.add(values)
        plain |= set(values)
