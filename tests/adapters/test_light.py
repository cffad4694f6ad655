"""Adapters without PyTorch make what their modules make."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depcli import methods
from depcli.adapters import files, light
from depcli.errors import BadInput
from depcli.records import Item, PastReview, Review, Slot

D, H = 32, 24
NEEDED = {
    name: 0 if inside is None else dict.fromkeys(inside, 0)
    for name, inside in files._NEEDED.items()
    if name not in ("shape", "weights_sha256")
}


def shown(count: int, seed: int) -> list[PastReview]:
    """Past reviews, of which every second has no peers."""
    vectors = np.random.default_rng(seed).normal(size=(count, 2, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return [
        PastReview(Review("u", f"i{n}", "t"), Item(f"i{n}"), his, diff if n % 2 else None, n % 2)
        for n, (his, diff) in enumerate(vectors)
    ]


def slots(method: str, count: int, seed: int) -> list[Slot]:
    return [slot for group in methods.find(method).slots(shown(count, seed)) for slot in group]


def saved(folder, method: str, reduction: str = "pca") -> torch.nn.Module:
    """A module with weights and components that are nowhere zero, as training leaves them, in `folder`."""
    torch.manual_seed(0)
    options = SimpleNamespace(reduction=reduction, latents=6, history=4)
    adapter = files.adapter_class(method).make(options, d=D, hidden=H, token_norm=0.7)
    adapter.fit([slots("dep", 4, seed) for seed in range(9)])
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.3)
    folder.mkdir()
    files.save(folder, adapter, NEEDED)
    return adapter.eval()


@pytest.mark.parametrize(
    ("method", "reduction"), [("dep", "pca"), ("dep", "sae"), ("dep", "ae"), ("dep", "none"), ("trained-prompt", "pca")]
)
def test_the_rows_are_those_of_the_module(tmp_path, method, reduction):
    module = saved(tmp_path / "adapter", method, reduction)
    adapter, config = light.load(tmp_path / "adapter")
    assert config["type"] == method and not isinstance(adapter, torch.nn.Module)
    for count in (1, 3, 4):
        asked = slots(method, count, seed=100 + count)
        wanted, rows = module.rows(asked), adapter.rows(asked)
        assert rows.dtype == np.float32 and rows.shape == (len(asked), H)
        assert np.abs(rows - wanted).max() <= 2e-6 * np.abs(wanted).max()
        backwards = adapter.rows(asked[::-1])  # each row belongs to its slot
        assert np.abs(backwards - wanted[::-1]).max() <= 2e-6 * np.abs(wanted).max()


def test_adapters_without_a_form_are_their_modules(tmp_path):
    module = saved(tmp_path / "adapter", "pplug")
    adapter, _ = light.load(tmp_path / "adapter")
    history = tuple(past.his for past in shown(3, seed=1))
    asked = [Slot("task"), Slot("person", history[0], history)]
    assert np.array_equal(adapter.rows(asked), module.rows(asked))


@pytest.mark.parametrize("reduction", ["pca", "none"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda shape: shape.pop("token_norm"),
        lambda shape: shape.update(token_norm=None),
        lambda shape: shape.update(token_norm="large"),
        lambda shape: shape.update(reduction="sae"),
    ],
)
def test_a_configuration_that_does_not_fit_its_weights_is_refused(tmp_path, reduction, damage):
    saved(tmp_path / "adapter", "dep", reduction)
    path = tmp_path / "adapter" / files.CONFIG
    config = json.loads(path.read_text())
    damage(config["shape"])
    path.write_text(json.dumps(config))
    with pytest.raises(BadInput, match="damaged: its shape and the weights do not go together"):
        light.load(tmp_path / "adapter")


@pytest.mark.parametrize("reduction", ["pca", "sae", "none"])
def test_sizes_are_those_of_the_weights_whatever_the_configuration_says(tmp_path, reduction):
    module = saved(tmp_path / "adapter", "dep", reduction)
    path = tmp_path / "adapter" / files.CONFIG
    config = json.loads(path.read_text())
    config["shape"] |= {"hidden": H // 2, "d": str(D)}
    path.write_text(json.dumps(config))
    asked = slots("dep", 3, seed=5)
    wanted = module.rows(asked)
    assert np.abs(light.load(tmp_path / "adapter")[0].rows(asked) - wanted).max() <= 2e-6 * np.abs(wanted).max()


def test_it_needs_no_pytorch(tmp_path):
    saved(tmp_path / "adapter", "dep", "sae")
    script = """
import sys
from pathlib import Path
from depcli.adapters import light
adapter, _ = light.load(Path(sys.argv[1]))
print(sorted({"torch", "scipy"} & set(sys.modules)))
"""
    told = subprocess.run([sys.executable, "-c", script, str(tmp_path / "adapter")], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"
