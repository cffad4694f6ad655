"""A store with a past, and every kind of damage that can be planted in it."""

from __future__ import annotations

from dataclasses import replace

import lancedb
import numpy as np
import pyarrow as pa

from depcli.records import Item
from depcli.store import Store, commits, schema
from depcli.store.upkeep.check import CheckReport
from tests.store.made import D, some_reviews, upsert, vector_of


def fill(store: Store) -> None:
    """Reviews with replaced versions and items, in a few commits."""
    reviews = some_reviews()
    upsert(store, reviews[:40], [Item("item1", "One"), Item("unread", "Nobody wrote of it")])
    upsert(store, [*reviews[40:], *(replace(review, text=review.text + " again", timestamp=900.0) for review in reviews[:9])])
    with store.writer() as writer:
        writer.tidy(force=True)


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


def found_in(report: CheckReport) -> dict[str, int]:
    counts: dict[str, int] = {}
    for finding in report.findings:
        counts[finding.what] = counts.get(finding.what, 0) + finding.count
    return counts


DAMAGES = {
    "a sum is off": (change_total, {"item sums": 1}),
    "a sum has another count": (
        lambda store: table_of(store, "item_sums").update("asin = 'item1'", {"reviews": 99}),
        {"item sums": 1},
    ),
    "a sum is missing": (lambda store: table_of(store, "item_sums").delete("asin = 'item1'"), {"item sums": 1}),
    "a sum of an item without reviews": (lambda store: add_sum(store, "unread"), {"item sums": 1}),
    "two sums of an item": (lambda store: add_sum(store, "item1"), {"item sums": 2}),  # one is wrong, and one too many
    "a review is gone": (
        lambda store: table_of(store, "reviews").delete("user_id = 'user1' and asin = 'item1'"),
        {"item sums": 1},
    ),
    "a key is wrong": (lambda store: change_review(store, key=b"0" * 16), {"review keys": 1}),
    "a text hash is wrong": (lambda store: change_review(store, text_hash=b"0" * 16), {"text hashes": 1}),
    "another text": (lambda store: change_review(store, text="user 1 on item 1 agaim"), {"text hashes": 1}),
    "a vector too long": (lambda store: change_review(store, vector=vector_of("x") * 1.01), {"vectors": 1, "item sums": 1}),
    "a vector of zeros": (lambda store: change_review(store, vector=np.zeros(D)), {"vectors": 1, "item sums": 1}),
    "an infinite vector": (lambda store: change_review(store, vector=np.full(D, np.inf)), {"vectors": 1, "item sums": 1}),
    "a review twice": (copy_review, {"reviews": 1, "item sums": 1}),
    "a review twice under another key": (
        lambda store: copy_review(store, key=b"0" * 16, text="older", text_hash=schema.text_hashes(["older"])[0], timestamp=1.0),
        {"reviews": 1, "review keys": 1, "item sums": 1},
    ),
    "an item twice": (lambda store: table_of(store, "items").add(schema.item_rows([Item("item1", "Uno")])), {"items": 1}),
    "an index is missing": (lambda store: table_of(store, "reviews").drop_index("user_id_idx"), {"indexes": 1}),
}
