from __future__ import annotations

import shutil

import lancedb
import pytest

from depcli.errors import BadInput
from depcli.store import Store
from tests.store.made import IDENTITY, some_reviews, upsert


def test_a_store_that_lost_its_commits_is_not_begun_anew(tmp_path):
    upsert(Store.create(tmp_path, IDENTITY), some_reviews())
    shutil.move(tmp_path / "store" / "commits.lance", tmp_path / "kept")
    for attempt in (lambda: Store.create(tmp_path, IDENTITY), lambda: Store.open(tmp_path)):
        with pytest.raises(BadInput, match=r"damaged: \d+ reviews, but no commit"):
            attempt()
    shutil.move(tmp_path / "kept", tmp_path / "store" / "commits.lance")
    assert Store.open(tmp_path).snapshot().counts()["reviews"] == len(some_reviews())


def test_nor_one_that_has_its_first_empty_table_of_commits_alone(tmp_path):
    store = Store.create(tmp_path, IDENTITY)
    upsert(store, some_reviews())
    *newer, _ = sorted((store.folder / "commits.lance" / "_versions").glob("*.manifest"))  # the newest come first by name
    for manifest in newer:
        manifest.unlink()
    with pytest.raises(BadInput, match="but no commit"):
        Store.create(tmp_path, IDENTITY)
    assert lancedb.connect(str(store.folder)).open_table("reviews").count_rows() == len(some_reviews())
