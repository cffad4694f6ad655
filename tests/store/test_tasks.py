"""What is to be written about an item where it is no review: kept, exported, and added to stores from before there was that."""

from __future__ import annotations

import pyarrow as pa
import pytest

from depcli.readers import open_reviews
from depcli.records import Item
from depcli.store import Store, schema
from depcli.store.export import export
from depcli.store.upkeep.check import check
from tests.store.made import IDENTITY, MadeEmbedder, contents, some_reviews, upsert

TASK = Item("item1", "", "An article.", "Generate a headline")


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A store as it was made before items had tasks, with a described item."""
    now = schema.schemas

    def then(dimension: int) -> dict[str, pa.Schema]:
        found = now(dimension)
        items = found[schema.ITEMS]
        return {**found, schema.ITEMS: items.remove(items.get_field_index(schema.TASK))}

    with monkeypatch.context() as before:
        before.setattr("depcli.store.store.schemas", then)
        store = Store.create(tmp_path / "older", IDENTITY)
    with store.writer() as writer:
        table = writer.tables[schema.ITEMS]
        assert schema.TASK not in table.schema.names
        table.add(pa.table({"asin": ["item0"], "title": ["Zero"], "description": ["0"]}, table.schema))
        writer.tables.commit("ingest", "test", {})
    return store


def test_a_task_is_kept_and_an_empty_one_takes_nothing_away(tmp_path):
    store = Store.create(tmp_path / "new", IDENTITY)
    upsert(store, some_reviews(), [TASK, Item("item2", "Two")])
    upsert(store, [], [Item("item1", "One")])
    assert store.snapshot().items(["item1", "item2"]) == {
        "item1": Item("item1", "One", "An article.", "Generate a headline"), "item2": Item("item2", "Two"),
    }  # fmt: skip
    assert not check(store).findings


def test_an_export_carries_tasks_along(tmp_path):
    from depcli.store.writing.ingest import ingest

    store, again = (Store.create(tmp_path / name, IDENTITY) for name in ("a", "b"))
    upsert(store, some_reviews(), [TASK, Item("item2", "Two")])
    with open(tmp_path / "out.jsonl", "wb") as file:
        export(store.snapshot(), file)
    ingest(again, open_reviews(tmp_path / "out.jsonl"), MadeEmbedder(), source="out.jsonl")
    assert contents(store.snapshot()) == contents(again.snapshot())


def test_an_older_store_is_read_and_gets_its_column_with_the_next_item(older):
    assert older.snapshot().items(["item0"]) == {"item0": Item("item0", "Zero", "0")}
    assert not check(older).findings
    upsert(older, some_reviews())
    before = older.snapshot()
    upsert(older, [], [TASK])
    after = older.snapshot()
    assert after.items(["item0", "item1"]) == {"item0": Item("item0", "Zero", "0"), "item1": TASK}
    assert list(after.all_items()) == [Item("item0", "Zero", "0"), TASK]
    assert older.snapshot(before.commit.id).items(["item0", "item1"]) == {"item0": Item("item0", "Zero", "0")}
    assert not check(older).findings
