"""What tells one backbone from another, and one state of its weights from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from depcli.backbones.catalogue import Backbone, gguf_parts
from depcli.backbones.fetch import gguf_file, weights_folder
from depcli.errors import DepError

_SHAPE = {"model_type": "architecture", "num_hidden_layers": "layers", "vocab_size": "vocabulary"}  # of a config.json
_BLOCK, _BLOCKS = 1 << 20, 64


def fingerprint(backbone: Backbone, config) -> dict:
    """What an adapter records about its backbone, whose model has the `config`: name, revision, architecture, hidden_size, layers
    and vocabulary.

    `revision` is the commit for a hub model, and a digest of config and weights for a folder: see `folder_revision`.
    The files must be here already (they are once the model is loaded).
    """
    return {
        "name": backbone.name,
        "revision": weights_revision(backbone),
        "hidden_size": config.hidden_size,
        **{ours: getattr(config, key) for key, ours in _SHAPE.items()},
    }


def recognise(backbone: Backbone, hidden_size: int) -> dict:
    """As much of the fingerprint as is known of a backbone that an engine has loaded: all but the width is missing when only
    its GGUF is on this machine."""
    known = {"name": backbone.name, "hidden_size": hidden_size}
    try:
        config = json.loads((weights_folder(backbone, offline=True) / "config.json").read_bytes())
        shape = {ours: config[key] for key, ours in _SHAPE.items() if key in config}
        return {**known, **shape, "revision": weights_revision(backbone)}
    except (DepError, OSError, ValueError):
        return known


def weights_revision(backbone: Backbone) -> str:
    """The commit of a hub model, a digest of a folder. The files must be here already: raises NotFound or NeedsNetwork."""
    folder = weights_folder(backbone, offline=True)
    return folder_revision(folder) if backbone.is_local else folder.name  # the cache names a snapshot by its commit


def folder_revision(folder: Path) -> str:
    """sha256 over config.json and the safetensors files: size and 64 evenly spaced blocks of 1 MiB of each.

    Files up to 64 MiB are covered wholly; of larger ones retraining changes every block, and reading all would take minutes.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        _add(digest, path)
    return digest.hexdigest()


def gguf_revision(backbone: Backbone) -> str:
    """sha256 over the GGUF, all of its parts, looked at as `folder_revision` does. The file must be here already."""
    first, digest = gguf_file(backbone, offline=True), hashlib.sha256()
    for name in gguf_parts(first.name):
        _add(digest, first.parent / name)
    return digest.hexdigest()


def _add(digest, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"\0{path.name}\0{size}\0".encode())
    step = max(_BLOCK, size // _BLOCKS)
    with path.open("rb") as file:
        for offset in range(0, size, step):
            file.seek(offset)
            digest.update(file.read(_BLOCK))


def weights_digest(model, hold: Callable[[str], None] = lambda name: None) -> str:
    """sha256 over all parameters: names, dtypes, shapes and bytes. Equal before and after training proves a frozen backbone.
    `hold` makes the parameter of a name whole first."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(name for name, _ in model.named_parameters()):
        hold(name)
        parameter = model.get_parameter(name)
        digest.update(f"{name}\0{parameter.dtype}\0{tuple(parameter.shape)}\0".encode())
        content = parameter.detach().clone(memory_format=torch.contiguous_format)  # numpy keeps what it has seen from being freed
        digest.update(content.flatten().view(torch.uint8).cpu().numpy())
    return digest.hexdigest()
