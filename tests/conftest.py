from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory):
    """Folder of a random Qwen2 model (hidden size 64, context 2,048): safetensors, tokenizer, tiny.gguf. Do not write to it."""
    from tests.tiny import build_tiny_backbone

    return build_tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")
