"""The backbone that an adapter was trained for, found again: by name, or in the folder where it was."""

from __future__ import annotations

from pathlib import Path

from depcli import backbones
from depcli.backbones.catalogue import MINI, Backbone
from depcli.backbones.fingerprint import folder_revision
from depcli.errors import Incompatible, NotFound

KEY = "backbone_folder"  # in the adapter's configuration


def record(backbone: Backbone) -> dict:
    """What a configuration holds of a backbone that has no name to be found by: the folder that it was loaded from."""
    named = not backbone.is_local or backbone.weights == MINI
    return {} if named else {KEY: str(backbone.weights)}


def backbone_of(folder: Path, config: dict) -> tuple[Backbone, str]:
    """(backbone, why this one) of the adapter in `folder`.

    Raises NotFound when its folder is gone, Incompatible when other weights are in it now.
    """
    trained = config["backbone"]
    if KEY not in config:
        return backbones.find(trained["name"]), "the adapter was trained for it"
    place = Path(config[KEY])
    name_it = "name the folder it is in now: --backbone PATH"
    if not (place / "config.json").is_file():
        raise NotFound(f"the backbone of adapter {folder.name!r}, {trained['name']}, is no longer in {place}", name_it)
    if folder_revision(place) != trained["revision"]:
        raise Incompatible(f"{place} holds other weights than adapter {folder.name!r} was trained for", name_it)
    return backbones.find(str(place)), f"in {place}, with the weights that the adapter was trained for"
