"""A backbone in parts with two real processes, started by torchrun, against the same backbone whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from depcli import backbones
from depcli.errors import DepError, Incompatible
from depcli.training.backbone import load_backbone, weights_bytes
from depcli.training.hardware import Hardware
from depcli.training.workers import Workers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deep_backbone(tmp_path_factory, tiny_backbone):
    """Four layers, and a head of its own."""
    folder = shutil.copytree(tiny_backbone, tmp_path_factory.mktemp("deep") / "deep")
    config = Qwen2Config.from_pretrained(tiny_backbone).to_dict() | {"num_hidden_layers": 4, "tie_word_embeddings": False}
    del config["layer_types"]
    Qwen2ForCausalLM(Qwen2Config(**config)).save_pretrained(folder)
    return folder


@pytest.mark.timeout(600)
def test_passes_through_parts_are_those_of_the_whole(tiny_backbone, deep_backbone):
    """Losses, gradients, texts and digests; also when one worker runs out of memory in any place, or makes more passes."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            str(Path(__file__).with_name("sharded_passes.py")),
            str(tiny_backbone),
            str(deep_backbone),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr


def load_here(folder, hardware: Hardware, workers: Workers):
    return load_backbone(backbones.find(str(folder)), hardware, workers, offline=True, on_event=lambda event: None)


def test_what_cannot_be_spread_says_what_to_do_instead(tiny_backbone):
    with pytest.raises(Incompatible, match="one alone") as caught:
        load_here(tiny_backbone, Hardware("cpu", shard=True), Workers())
    assert "torchrun" in caught.value.hint
    with pytest.raises(Incompatible, match="int8") as caught:
        load_here(tiny_backbone, Hardware("cpu", "int8", shard=True), Workers(0, 2))
    assert "fp8" in caught.value.hint


@pytest.mark.parametrize("precision", [None, "bf16", "fp8"])
@pytest.mark.parametrize("name", ["tiny_backbone", "deep_backbone"])
def test_the_size_of_weights_is_known_before_they_are_loaded(name, precision, request):
    backbone, hardware = backbones.find(str(request.getfixturevalue(name))), Hardware("cpu", precision)
    model = backbones.load_in(backbone, precision, device="cpu")
    size = sum(parameter.nbytes for parameter in model.parameters())
    assert weights_bytes(backbone, hardware, offline=True) == pytest.approx(size, rel=0.03)  # fp8: but for the scales, one a row


def test_weights_that_do_not_fit(tiny_backbone, monkeypatch):
    def no_room(*args, **how):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 65000000000 bytes.")

    monkeypatch.setattr(backbones, "load_in", no_room)
    with pytest.raises(DepError, match="no room for the weights") as caught:
        load_here(tiny_backbone, Hardware("cpu"), Workers())
    assert "torchrun" in caught.value.hint and "int4" in caught.value.hint
