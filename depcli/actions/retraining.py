"""How an adapter was trained, as the options that `dep train` needs to train one like it."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from depcli.adapters import files, trained_for
from depcli.backbones.catalogue import MINI, Backbone
from depcli.errors import DepError, NotFound
from depcli.personal.choices import Choices
from depcli.splits.split import LEAVE_LAST_OUT

_CHOICES = tuple(asdict(Choices()))
_SHARED = ("backbone", "embedder", "template", "store_commit", "split", "max_input_tokens", "max_target_tokens")
_TRAINED = (
    "epochs",
    "batch_size",
    "min_peers",
    "as_of",
    "targets_per_user",
    "limit",
    "select_by",
    "seed",
    "history",
    "reduction",
    "learning_rate",
)


def said(config: dict) -> dict:
    """What an adapter was trained with, flat. The learning rate is None where `dep train` takes it by itself: it is not the same
    for all reductions."""
    from depcli.training.options import TrainOptions

    flat = {**{key: config[key] for key in (*_SHARED, *_TRAINED)}, **config["choices"]}
    usual, _ = TrainOptions(method=config["type"], reduction=flat["reduction"]).rate_for(config["backbone"]["hidden_size"])
    return {**flat, "learning_rate": None if flat["learning_rate"] == usual else flat["learning_rate"]}


def own(trained: dict) -> dict:
    """What an adapter was trained with (see `said`) that `dep train` does not do unless told to."""
    from depcli.training.options import TrainOptions

    usual = {**asdict(TrainOptions()), **asdict(Choices())}
    return {key: trained[key] for key in (*_TRAINED, *_CHOICES) if trained[key] not in (None, usual[key])}


def of_backbone(folder: Path, config: dict, backbone: Backbone) -> dict:
    """The same of what is by itself as the `backbone` has it, and of the split."""
    alike = {"template": files.template_of(folder, config), "max_input_tokens": config["max_input_tokens"]}
    alike = {key: value for key, value in alike.items() if value != getattr(backbone, key)}
    split = config["split"]["name"]
    return alike if split == LEAVE_LAST_OUT else {**alike, "split": split}


def named_backbone(backbone: Backbone) -> str:
    """What --backbone is given for it."""
    return str(backbone.weights) if backbone.is_local and backbone.weights != MINI else backbone.name


def option(name: str, value: object) -> str:
    """An option of `dep train` as it is typed."""
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{name}"
    return f"--{name} {shlex.quote(str(value))}"


def commit_gone(folders: Collection[Path], why: DepError) -> NotFound:
    """What to raise when the commit that these adapters were trained on cannot be read any more."""
    names = " and ".join(sorted(folder.name for folder in folders))
    return NotFound(
        f"{names} was trained on a state of the store that is gone: {why.message}",
        "train it again on what the store holds now: " + ", ".join(map(_again, sorted(folders))),
    )


def _again(folder: Path) -> str:
    config = files.read_config(folder)
    try:
        backbone, _ = trained_for.backbone_of(folder, config)
        name, like = named_backbone(backbone), of_backbone(folder, config, backbone)
    except DepError:  # it is not here
        name, like = config["backbone"]["name"], {"template": files.template_of(folder, config)}
    method = [] if config["type"] == "dep" else [f"--method {config['type']}"]
    options = [option(key, value) for key, value in {**own(said(config)), **like}.items()]
    place = f"--profiles {shlex.quote(str(folder.parent.parent))}"
    return " ".join(["dep train --replace", f"--adapter {folder.name}", *method, f"--backbone {name}", *options, place])
