from __future__ import annotations

import pytest

from depcli.backbones import find
from tests.evaluation.world import make_store


@pytest.fixture(scope="package")
def snapshot(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("profiles")).snapshot()


@pytest.fixture(scope="package")
def engine(tiny_backbone):
    from depcli.engines import load

    with load("transformers", find(str(tiny_backbone)), offline=True, device="cpu") as engine:
        yield engine
