from __future__ import annotations

import shutil

import pytest

from depcli.store import Store
from tests.store.made import IDENTITY


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """The profiles folder of an empty store, to be copied."""
    return Store.create(tmp_path_factory.mktemp("empty"), IDENTITY).path


@pytest.fixture
def store(tmp_path, empty):
    """An empty store of one's own."""
    shutil.copytree(empty, tmp_path / "profiles")
    return Store.open(tmp_path / "profiles")
