"""Adapters trained and texts written on the CPU and elsewhere, as JSON: losses, squares of trained weights, tokens."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from depcli import backbones
from depcli.adapters import files
from depcli.engines.transformers import TransformersEngine
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from depcli.store import Store
from depcli.training.hardware import Hardware
from depcli.training.options import TrainOptions
from depcli.training.run import train
from tests.elsewhere import ELSEWHERE, elsewhere
from tests.store.made import MadeEmbedder

_METHODS = {
    "sae": {"method": "dep", "reduction": "sae"},
    "pca": {"method": "dep", "reduction": "pca"},
    "trained-prompt": {"method": "trained-prompt"},
    "pplug": {"method": "pplug"},
}


def trained(store: Store, backbone: backbones.Backbone, name: str, device: str) -> dict:
    folder = files.folder_of(store.path, f"{name}-{device}")
    options = TrainOptions(epochs=1, batch_size=2, history=2, targets_per_user=1, limit=4, **_METHODS[name])
    hardware = Hardware(device=device, checkpointing=name == "sae")
    report = train(store=store, backbone=backbone, folder=folder, options=options, hardware=hardware, embedder=MadeEmbedder())
    weights = load_file(folder / files.WEIGHTS)
    return {"losses": report.losses, "weights": {name: float(np.square(weight).sum()) for name, weight in weights.items()}}


def written(backbone: backbones.Backbone, device: str) -> list[list[int]]:
    engine = TransformersEngine.open(backbone, device=device, exact=True)
    rows = np.random.default_rng(0).normal(size=(4, engine.width)).astype(np.float32)
    prompts = [
        SoftPrompt((Text(f"A quiet film, part {i}. "), Vectors(rows), Text("It is")), engine.width, origin="a test")
        for i in range(5)
    ]
    sampling = Sampling(temperature=0.8, max_new_tokens=12, seed=1)
    return [done.tokens for done in engine.generate((prompt, sampling) for prompt in prompts)]


def main(store: str, backbone: str) -> None:
    found, made = backbones.find(backbone), {}
    for device, place in ("cpu", nullcontext), (ELSEWHERE, elsewhere):
        with place():
            made[device] = {name: trained(Store.open(Path(store)), found, name, device) for name in _METHODS}
            made[device]["tokens"] = written(found, device)
    json.dump(made, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
