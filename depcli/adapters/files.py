"""Adapters on disk: one folder, written atomically, loaded only onto what it was trained for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from depcli import methods
from depcli.errors import BadInput, Incompatible, NotFound
from depcli.records import EmbedderIdentity
from depcli.system.atomic import write_atomically
from depcli.system.lock import is_held

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
FOLDER = "adapters"  # under the profiles folder
CONFIG, WEIGHTS, TEMPLATE = "adapter_config.json", "adapter_model.safetensors", "template.jinja"
CARD, METRICS, CHECKPOINTS, LOCK = "README.md", "metrics.jsonl", "checkpoints", ".lock"
# What a configuration has; of objects, what is in them.
_NEEDED = {
    "shape": (),
    "backbone": ("name", "revision", "hidden_size"),
    "embedder": ("name", "revision", "dimension"),
    "split": ("name", "digest"),
    "validation_losses": (),
    "weights_sha256": None,
    "template": None,
    "history": None,
    "max_input_tokens": None,
    "store_commit": None,
    "targets_per_user": None,
    "choices": ("retrieval",),
    "min_peers": None,
    "as_of": None,
    "reduction": None,
    "best_epoch": None,
    "validations": None,
    "seen_users": ("salt", "hashes"),
    "limit": None,
    "epochs": None,
    "batch_size": None,
    "select_by": None,
    "seed": None,
    "learning_rate": None,
    "max_target_tokens": None,
}
AGAIN = "train the adapter again"


def folder_of(profiles: Path, name: str) -> Path:
    """Where an adapter of this name lives. Names are letters, digits, '.', '_' and '-'."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise BadInput(f"{name!r} cannot name an adapter", "use at most 100 letters, digits, '.', '_' and '-'")
    return profiles / FOLDER / name


def names(profiles: Path) -> list[str]:
    """The finished adapters of a profiles folder."""
    return sorted(path.parent.name for path in (profiles / FOLDER).glob(f"*/{CONFIG}"))


def unfinished(profiles: Path) -> list[str]:
    """The names of the adapters whose training was interrupted."""
    return sorted(path.parent.name for path in (profiles / FOLDER).glob(f"*/{CHECKPOINTS}"))


def under_way(profiles: Path) -> list[str]:
    """The names of the adapters that are being trained."""
    return sorted(path.parent.name for path in (profiles / FOLDER).glob(f"*/{LOCK}") if is_held(path))


def save(folder: Path, adapter, config: dict) -> None:
    """Weights first, configuration last: a folder with a configuration is a whole adapter."""
    from safetensors.torch import save as serialize

    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in adapter.state_dict().items()}
    data = serialize(tensors)
    write_atomically(folder / WEIGHTS, data)
    config = {**config, "weights_sha256": hashlib.sha256(data).hexdigest(), "finished": _moment(datetime.now(UTC))}
    whole = {"format": FORMAT, "type": adapter.type, "shape": adapter.config(), **config}
    write_atomically(folder / CONFIG, (json.dumps(whole, indent=2, ensure_ascii=False) + "\n").encode())


def read_config(folder: Path) -> dict:
    """The configuration of an adapter. Raises NotFound with the names there are, Incompatible for a newer format."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (folder / CHECKPOINTS).is_dir():
            hint = f"dep train --resume --adapter {folder.name}"
            raise NotFound(f"the training of the adapter {folder.name!r} was interrupted", hint) from None
        there = ", ".join(sorted(path.parent.name for path in folder.parent.glob(f"*/{CONFIG}"))) or "none yet"
        raise NotFound(f"no adapter {folder.name!r}", f"adapters here: {there}; `dep train` makes one") from None
    except ValueError as error:
        raise BadInput(f"{folder / CONFIG} is damaged: {error}", "train the adapter again, or restore the file") from None
    if not isinstance(config, dict):
        raise BadInput(f"{folder / CONFIG} is damaged: not a JSON object", "train the adapter again, or restore the file")
    if config.get("format") != FORMAT:
        message = f"adapter {folder.name!r} has format {config.get('format')}; this version reads {FORMAT}"
        raise Incompatible(message, "update depcli, or train the adapter again")
    if config.get("type") not in methods.names():
        message = f"adapter {folder.name!r} is of the method {config.get('type')!r}, which nothing that is installed has"
        raise Incompatible(message, "install the package that brings it, or update depcli")
    if missing := list(_missing(config)):
        message = f"{folder / CONFIG} is damaged: it lacks {', '.join(missing)}"
        raise BadInput(message, "train the adapter again, or restore the file")
    return config


def _missing(config: dict) -> Iterator[str]:
    """What a configuration lacks, by name."""
    for name, inside in _NEEDED.items():
        if name not in config or not (inside is None or isinstance(config[name], dict)):
            yield name
        else:
            yield from (f"{name}.{part}" for part in inside or () if part not in config[name])
    losses = config.get("validation_losses")
    if isinstance(losses, dict) and not all(isinstance(loss, (int, float)) for loss in losses.values()):
        yield "numbers among its validation_losses"


def finished(folder: Path, config: dict) -> str:
    """When the adapter with this configuration was trained: a later one is greater, and a copy as old as it. Where an earlier
    version trained it the file's own time counts."""
    written = datetime.fromtimestamp((folder / CONFIG).stat().st_mtime, UTC)
    return str(config.get("finished", _moment(written)))


def _moment(when: datetime) -> str:
    return when.isoformat(timespec="microseconds")


def adapter_class(method: str):
    """The class of the adapters of a method with soft tokens. Brings PyTorch."""
    module, name = methods.find(method).adapter.split(":")
    return getattr(import_module(module), name)


def read_weights(folder: Path, config: dict) -> dict[str, np.ndarray]:
    """The tensors, float32, by their names in the module. Raises BadInput when they are not those of the configuration."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialize

    try:
        data = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(data).hexdigest() != config["weights_sha256"]:
            message = f"{folder / WEIGHTS} does not hold this adapter: it belongs to another configuration"
            raise BadInput(message, AGAIN)
        return deserialize(data)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{folder / WEIGHTS} does not hold this adapter: {error}", AGAIN) from None


def load(folder: Path):
    """(module in eval mode on the CPU, its configuration): for writing alone `light.load` is much quicker."""
    import torch

    config = read_config(folder)
    try:
        adapter = adapter_class(config["type"]).from_config(config["shape"])
    except TypeError as error:
        raise BadInput(f"{folder / CONFIG} is damaged: {error}", AGAIN) from None
    weights = read_weights(folder, config)
    try:
        adapter.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in weights.items()})
    except RuntimeError as error:
        raise BadInput(f"{folder / WEIGHTS} does not hold this adapter: {error}", AGAIN) from None
    return adapter.eval().requires_grad_(False), config


def check_method(folder: Path, config: dict, method: str) -> None:
    """Refuse an adapter that was trained for another method."""
    if config["type"] != method:
        raise Incompatible(
            f"adapter {folder.name!r} was trained for the method {config['type']}, not for {method}",
            f"--method {config['type']}, or train one: dep train --method {method}",
        )


def template_of(folder: Path, config: dict) -> str:
    """What the adapter was trained with: the name of a bundled template, or the copy of a file that came with it."""
    return str(folder / TEMPLATE) if has_own_template(config) else config["template"]


def has_own_template(config: dict) -> bool:
    """Whether the configuration holds the text of a template in place of the name of a bundled one."""
    return re.fullmatch(r"[\w-]+", config["template"]) is None


def min_peers_of(folder: Path, config: dict, asked: int | None) -> int:
    """How many peers a difference needs: as many as in training. Raises Incompatible when another number is `asked` for."""
    trained = config["min_peers"]
    if asked not in (None, trained):
        raise Incompatible(
            f"adapter {folder.name!r} was trained with differences from {trained} peers or more, not from {asked}",
            f"leave --min-peers out, or train another: dep train --min-peers {asked}",
        )
    return trained


def history_of(folder: Path, config: dict, asked: int | None) -> int:
    """How many past reviews a prompt shows at most: as many as in training. Raises Incompatible when another number is `asked`
    for, unless the method shows none anyway."""
    trained = config["history"]
    if asked not in (None, trained) and methods.find(config["type"]).history:
        raise Incompatible(
            f"adapter {folder.name!r} was trained with {trained} past reviews, not with {asked}",
            f"leave --history out, or train another: dep train --history {asked}",
        )
    return trained


def check_fit(folder: Path, config: dict, *, embedder: EmbedderIdentity, backbone: dict) -> None:
    """Refuse an adapter that was trained on other vectors or for another backbone: expected, found, remedy."""
    trained = config["embedder"]
    if trained != asdict(embedder):
        raise Incompatible(
            f"adapter {folder.name!r} was trained on {trained['name']} vectors "
            f"({trained['dimension']}-d, {trained['revision']}), "
            f"the store holds {embedder.name} vectors ({embedder.dimension}-d, {embedder.revision})",
            "train an adapter on this store: dep train",
        )
    wanted = config["backbone"]
    # The same weights may come by another name: as a copy of a folder, as a GGUF of one's own, from the hub. Then their revisions
    # are of another kind, but never their shape.
    alike = backbone["name"] == wanted["name"] or len(str(backbone.get("revision"))) == len(str(wanted["revision"]))
    for key in ("hidden_size", "layers", "vocabulary", "architecture", *(["revision"] if alike else [])):
        if backbone.get(key, wanted[key]) != wanted[key]:
            raise Incompatible(
                f"adapter {folder.name!r} was trained for {wanted['name']} with {key} {wanted[key]!r}, "
                f"the backbone has {backbone[key]!r}",
                f"write with the one it was trained for, or train for this one: dep train --backbone {backbone['name']}",
            )
