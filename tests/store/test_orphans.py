from __future__ import annotations

import shutil

import pytest

from depcli.errors import BadInput
from depcli.store import Store
from tests.store.made import IDENTITY, some_reviews, upsert


def test_a_store_that_lost_its_commits_is_not_begun_anew(tmp_path):
    upsert(Store.create(tmp_path, IDENTITY), some_reviews())
    shutil.move(tmp_path / "store" / "commits.lance", tmp_path / "kept")
    with pytest.raises(BadInput, match=r"damaged: \d+ reviews, but no commit"):
        Store.create(tmp_path, IDENTITY)
    shutil.move(tmp_path / "kept", tmp_path / "store" / "commits.lance")
    assert Store.open(tmp_path).snapshot().counts()["reviews"] == len(some_reviews())
