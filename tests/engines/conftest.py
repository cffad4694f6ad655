from __future__ import annotations

import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.records import SoftPrompt, Text, Vectors

WIDTH = 64  # of the tiny backbone


@pytest.fixture(scope="package")
def reference(tiny_backbone):
    with load("transformers", find(str(tiny_backbone)), exact=True) as engine:
        yield engine


@pytest.fixture(scope="package")
def llama(tiny_backbone):
    with load("llamacpp", find(str(tiny_backbone)), exact=True) as engine:
        yield engine


@pytest.fixture
def soft():
    """Makes SoftPrompts: strings are text, numbers are that many random soft tokens (the same ones in every test)."""
    random = np.random.default_rng(7)

    def build(*parts: str | int, width: int = WIDTH) -> SoftPrompt:
        return SoftPrompt(tuple(
            Text(part) if isinstance(part, str) else Vectors((random.standard_normal((part, width)) * 0.5).astype(np.float32))
            for part in parts
        ), width)  # fmt: skip

    return build
