from __future__ import annotations

import shutil

import pytest

from depcli.store import Store
from tests.store.damage import fill
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


@pytest.fixture(scope="session")
def sound(tmp_path_factory, empty):
    """The profiles folder of a store with a past (damage.fill), to be copied."""
    path = tmp_path_factory.mktemp("sound") / "profiles"
    shutil.copytree(empty, path)
    fill(Store.open(path))
    return path


@pytest.fixture
def filled(tmp_path, sound):
    """A store of one's own with the same past."""
    shutil.copytree(sound, tmp_path / "profiles")
    return Store.open(tmp_path / "profiles")
