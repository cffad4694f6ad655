"""What is to be written about an item where it is no review: kept and exported."""

from __future__ import annotations

from depcli.readers import open_reviews
from depcli.records import Item
from depcli.store import Store
from depcli.store.export import export
from depcli.store.upkeep.check import check
from tests.store.made import IDENTITY, MadeEmbedder, contents, some_reviews, upsert

TASK = Item("item1", "", "An article.", "Generate a headline")


def test_a_task_is_kept_and_an_empty_one_takes_nothing_away(tmp_path):
    store = Store.create(tmp_path / "new", IDENTITY)
    upsert(store, some_reviews(), [TASK, Item("item2", "Two")])
    upsert(store, [], [Item("item1", "One")])
    assert store.snapshot().items(["item1", "item2"]) == {
        "item1": Item("item1", "One", "An article.", "Generate a headline"),
        "item2": Item("item2", "Two"),
    }
    assert not check(store).findings


def test_an_export_carries_tasks_along(tmp_path):
    from depcli.store.writing.ingest import ingest

    store, again = (Store.create(tmp_path / name, IDENTITY) for name in ("a", "b"))
    upsert(store, some_reviews(), [TASK, Item("item2", "Two")])
    with open(tmp_path / "out.jsonl", "wb") as file:
        export(store.snapshot(), file)
    ingest(again, open_reviews(tmp_path / "out.jsonl"), MadeEmbedder(), source="out.jsonl")
    assert contents(store.snapshot()) == contents(again.snapshot())
