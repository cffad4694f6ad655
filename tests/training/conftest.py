from __future__ import annotations

import pytest

from depcli.backbones import find, load_model, load_tokenizer


@pytest.fixture(scope="module")
def parts(tiny_backbone):
    backbone = find(str(tiny_backbone))
    return load_model(backbone, device="cpu"), load_tokenizer(backbone)
