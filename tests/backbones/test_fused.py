"""Compiled parts of a layer give the losses and gradients of the plain ones. The compiler runs for real, on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch

from depcli.backbones.fp8 import to_fp8
from depcli.backbones.fused import fuse
from depcli.backbones.passes import checkpoint_layers
from tests.backbones.test_passes import BATCH, batch_of, build, compare


@pytest.fixture(autouse=True)
def compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    with torch._dynamo.config.patch(suppress_errors=False):
        yield
        torch._dynamo.reset()


@pytest.mark.filterwarnings("default")  # of the compiler's own
@pytest.mark.parametrize(("fp8", "tolerance"), [(False, {}), (True, {"rtol": 0.02, "atol": 0.3})])
def test_losses_and_gradients_stay_whatever_the_shape(fp8, tolerance):
    model = build("qwen2")
    if fp8:
        to_fp8(model, model.get_output_embeddings())
    plain = copy.deepcopy(model)
    fuse(model)
    torch._dynamo.config.suppress_errors = False
    compare(model, BATCH, reference=plain, **tolerance)
    compare(model, batch_of((33, (20,), 4)), reference=plain, **tolerance)
    assert not torch._dynamo.utils.counters["graph_break"]
    checkpoint_layers(model)
    compare(model, BATCH, reference=plain, **tolerance)


@pytest.mark.filterwarnings("default")
def test_a_machine_without_a_compiler_goes_on(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    model = build("qwen2")
    plain = copy.deepcopy(model)
    fuse(model)
    compare(model, BATCH, reference=plain)


def test_layers_of_a_layout_nobody_knows_stay_as_they_are():
    model = build("gpt2")
    fuse(model)
    compare(model, BATCH)
