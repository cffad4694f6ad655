from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from depcli.backbones import find, served
from depcli.engines import load
from depcli.records import SoftPrompt, Text, Vectors
from tests.tiny import build_tiny_backbone

WIDTH = 64  # of the tiny backbone


@pytest.fixture(scope="package")
def reference(tiny_backbone):
    with load("transformers", find(str(tiny_backbone)), exact=True) as engine:
        yield engine


@pytest.fixture(scope="package")
def llama(tiny_backbone):
    with load("llamacpp", find(str(tiny_backbone)), exact=True) as engine:
        yield engine


@pytest.fixture(scope="package")
def wide_heads(tmp_path_factory):
    """A tiny backbone with heads of 32, fewer than which vLLM does not compute on a CPU."""
    return build_tiny_backbone(tmp_path_factory.mktemp("wide") / "tiny", heads=2)


@pytest.fixture(scope="package")
def vllm(wide_heads, tmp_path_factory):
    """vLLM in this process, on a model folder that asks for penalties: nobody may heed it."""
    folder = shutil.copytree(wide_heads, tmp_path_factory.mktemp("vllm") / "tiny")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"repetition_penalty": 1.5, "top_k": 3, "min_p": 0.4}))
    yield from _in_process(folder)


@pytest.fixture(scope="package")
def pieces(wide_heads):
    """The same, reading 64 positions of a prompt at a time, in blocks of 32."""
    yield from _in_process(wide_heads, enable_chunked_prefill=True, max_num_batched_tokens=64, max_num_seqs=4, block_size=32)


def _in_process(folder, **more):
    from depcli.engines.vllm.process import prepare_environment

    with pytest.MonkeyPatch.context() as patch:
        # Without a process of its own vLLM starts in seconds.
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        prepare_environment()
        from depcli.engines.vllm.engine import VllmEngine

        # Two engines share a GPU, where without graphs one is there in seconds.
        more |= {"enforce_eager": True, "gpu_memory_utilization": 0.3}
        with VllmEngine(find(str(folder)), exact=True, more=more) as engine:
            yield engine


@pytest.fixture
def soft():
    """Makes SoftPrompts: strings are text, numbers are that many random soft tokens (the same ones in every test)."""
    random = np.random.default_rng(7)

    def build(*parts: str | int, width: int = WIDTH) -> SoftPrompt:
        return SoftPrompt(
            tuple(
                Text(part) if isinstance(part, str) else Vectors((random.standard_normal((part, width)) * 0.5).astype(np.float32))
                for part in parts
            ),
            width,
        )

    return build


@pytest.fixture
def endpoint():
    """Opens an engine on an endpoint that answers as told: `endpoint(answer, models, **engine options)` -> (engine, endpoint)."""
    pytest.importorskip("openai")
    from depcli.engines.openai import OpenAIEngine
    from tests.engines.endpoints import KEY, Scripted

    opened = []

    def open_one(answer, models=None, **options):
        scripted = Scripted(answer, models).__enter__()
        engine = OpenAIEngine(served("some-model"), url=scripted.url, **{"key": KEY, **options})
        opened.extend((scripted, engine))
        return engine, scripted

    yield open_one
    for one in reversed(opened):
        one.__exit__()
