"""What a test with vLLM is marked with."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

VLLM = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("default"),  # it warns of its own making
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm does that on Linux x86-64"),
]
