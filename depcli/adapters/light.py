"""Finished adapters without PyTorch: writing needs a few products of them, and importing PyTorch for these takes longer than a
review. Training uses the modules, and so does writing with adapters that have no form here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import erf
from pathlib import Path

import numpy as np

from depcli.adapters import files
from depcli.adapters.kinds import KINDS, MARKERS
from depcli.errors import BadInput
from depcli.records import Slot

Weights = Mapping[str, np.ndarray]


class LightAdapter:
    """A vector (H,) for each slot by `of_slot`, and added to it what `of_embeddings` makes of the embeddings of a kind, (n, d) ->
    (n, H). The rows are those of the module, within rounding. Sizes are those of the weights."""

    def __init__(self, shape: dict, of_slot: Callable, of_embeddings: Callable | None = None):
        self._token_norm, self._of_slot, self._of_embeddings = float(shape["token_norm"]), of_slot, of_embeddings

    def rows(self, slots: Sequence[Slot]) -> np.ndarray:
        """Soft tokens (S, H) float32 in the order of the slots."""
        rows = np.stack([self._of_slot(slot) for slot in slots])
        for kind in KINDS if self._of_embeddings else ():
            at = [i for i, slot in enumerate(slots) if slot.kind == kind]
            if at:
                embeddings = np.stack([slots[i].embedding for i in at])
                rows[at] += self._of_embeddings(kind, embeddings) / np.float32(rows.shape[1] ** 0.5)
        return rows * np.float32(self._token_norm)


def load(folder: Path):
    """(adapter whose `rows(slots)` are soft tokens, its configuration). Brings PyTorch only for adapters that have no form here.
    Raises what `files.load` raises."""
    config = files.read_config(folder)
    make = _FORMS.get(config["type"])
    if make is None:
        return files.load(folder)
    weights = files.read_weights(folder, config)
    try:
        return make(config["shape"], weights), config
    except (KeyError, TypeError, ValueError) as error:
        message = f"{folder / files.CONFIG} is damaged: its shape and the weights do not go together ({error})"
        raise BadInput(message, files.AGAIN) from None


def _trained_prompt(shape: dict, weights: Weights) -> LightAdapter:
    return LightAdapter(shape, lambda slot: weights[f"vectors.{slot.kind}"])


def _dep(shape: dict, weights: Weights) -> LightAdapter:
    return (_person if shape["reduction"] == "pca" else _projected)(shape, weights)


def _person(shape: dict, weights: Weights) -> LightAdapter:
    """person.py: a shared vector for kind and age, and a linear map of the embedding's principal components."""
    maps = {kind: (weights[f"centre_{kind}"], weights[f"axes_{kind}"], weights[f"maps.{kind}.weight"].T) for kind in KINDS}

    def of_embeddings(kind: str, e: np.ndarray) -> np.ndarray:
        centre, axes, projection = maps[kind]
        return (e - centre) @ axes @ projection

    return LightAdapter(shape, lambda slot: weights[f"shared.{slot.kind}_{slot.age}"], of_embeddings)


def _projected(shape: dict, weights: Weights) -> LightAdapter:
    """dep.py: the latents of the autoencoder (without one the embedding) through a projector of two layers; trained markers."""
    markers = {name: weights[f"markers.{name}"] for name in MARKERS}
    base = markers | dict.fromkeys(KINDS, np.zeros_like(markers[MARKERS[0]]))
    projectors = {kind: [_linear(weights, f"projectors.{kind}.{layer}") for layer in (0, 2)] for kind in KINDS}
    encode = None if shape["reduction"] == "none" else _linear(weights, "sae.encoder")

    def of_embeddings(kind: str, e: np.ndarray) -> np.ndarray:
        first, second = projectors[kind]
        e = e * np.float32(e.shape[1] ** 0.5)
        z = 0.5 + 0.5 * np.tanh(0.5 * encode(e)) if encode else e  # a sigmoid
        return second(_gelu(first(z)))

    return LightAdapter(shape, lambda slot: base[slot.kind], of_embeddings)


def _linear(weights: Weights, name: str) -> Callable[[np.ndarray], np.ndarray]:
    weight, bias = weights[f"{name}.weight"].T, weights[f"{name}.bias"]
    return lambda x: x @ weight + bias


_erf = np.vectorize(erf, otypes=[np.float32])


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * (0.5 + 0.5 * _erf(x / np.float32(2**0.5)))


_FORMS = {"dep": _dep, "trained-prompt": _trained_prompt}
