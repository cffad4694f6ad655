"""What `dep status` says while others write."""

from __future__ import annotations

import shutil
from threading import Event, Thread

from depcli.profiles import overview
from depcli.store import Store
from tests.store.made import IDENTITY, some_reviews, upsert


def test_files_that_come_and_go_meanwhile_stop_nobody(tmp_path):
    store = Store.create(tmp_path / "profiles", IDENTITY)
    upsert(store, some_reviews())
    enough = Event()

    def come_and_go() -> None:
        while not enough.is_set():
            for n in range(40):
                folder = store.folder / "reviews.lance" / "_indices" / f"new{n}"
                folder.mkdir()
                (folder / "page.lance").write_bytes(b"12345")
            for n in range(40):
                shutil.rmtree(store.folder / "reviews.lance" / "_indices" / f"new{n}")

    beside = Thread(target=come_and_go)
    beside.start()
    try:
        sizes = {overview(store.path)["store"]["tables"]["reviews"] for _ in range(12)}
    finally:
        enough.set()
        beside.join()
    least = overview(store.path)["store"]["tables"]["reviews"]
    assert all(least <= size <= least + 40 * 5 for size in sizes)
