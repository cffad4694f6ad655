"""What a review is written with where not all is named: which adapter, which backbone, which engine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depcli import backbones, methods
from depcli.adapters import files, trained_for
from depcli.backbones.catalogue import Backbone
from depcli.engines import FORMS
from depcli.engines.endpoint import find_endpoint, no_soft_tokens
from depcli.errors import Incompatible, NotFound
from depcli.profiles import EVALUATIONS, usable_adapters


@dataclass(frozen=True)
class WritingParts:
    """What a review is written with, and why. `form` is how the engine takes the backbone: 'gguf', 'weights', or None where it
    runs elsewhere."""

    method: str
    adapter: Path | None
    backbone: Backbone
    engine: str
    reasons: tuple[str, ...]

    @property
    def form(self) -> str | None:
        return FORMS[self.engine]


def choose_adapter(
    profiles: Path, method: str, name: str | None, backbone: str | None, split: str | None = None
) -> tuple[Path, str]:
    """(folder, why this one) of the adapter to write with: the named one, else the newest usable one of the method, of `backbone`
    or of all, and where there are any that were trained on `split`, of these. Raises NotFound when there is none."""
    if name is not None:
        return files.folder_of(profiles, name), "as named"
    usable = {entry["name"]: entry for entry in usable_adapters(profiles)}
    fitting = [
        profiles / files.FOLDER / name
        for name, entry in usable.items()
        if entry["method"] == method and backbone in (None, entry["backbone"])
    ]
    if not fitting:
        wanted = f" for the backbone {backbone}" if backbone else ""
        there = files.names(profiles)
        known = ", ".join(there) or "none"
        if unusable := ", ".join(name for name in there if name not in usable):
            known += f"; dep status says what is wrong with {unusable}"
        options = ("" if method == "dep" else f" --method {method}") + (f" --backbone {backbone}" if backbone else "")
        place = f"--profiles {shlex.quote(str(profiles))}"
        hint = f"train one: dep train{options} {place}"
        if begun := files.unfinished(profiles):
            hint += f"; the training of {begun[0]} was interrupted: dep train --resume --adapter {begun[0]} {place}"
        raise NotFound(f"no adapter of {method}{wanted} in {profiles} (there: {known})", hint)
    alike = [folder for folder in fitting if usable[folder.name]["split"] == split]
    newest = max(alike or fitting, key=lambda folder: usable[folder.name]["finished"])
    among = f"{len(alike)} of the split {split}" if 0 < len(alike) < len(fitting) else str(len(fitting))
    return newest, "the only one" if len(fitting) == 1 else f"the newest of {among}"


def writing_parts(
    profiles: Path, *, method: str, adapter: str | None = None, backbone: str | None = None, engine: str | None = None
) -> WritingParts:
    """Choose what was not named: the newest adapter, the backbone it was trained for, llama.cpp where there is a GGUF.

    Loads nothing. Raises NotFound when there is no such method, adapter or backbone, Incompatible when an endpoint is asked for
    soft tokens or an adapter is named for a method that has none.
    """
    if adapter is not None and not methods.find(method).needs_adapter:
        raise Incompatible(
            f"the method {method} takes no adapter, and {adapter!r} is one", "leave --adapter out, or name its --method"
        )
    if engine == "openai":
        model = backbones.served(_model_of_endpoint([method], backbone))
        where = f"prompts, with all reviews in them, go to {find_endpoint()}"
        return WritingParts(method, None, model, engine, (where,))
    folder, reasons = None, []
    if methods.find(method).needs_adapter:
        wanted = backbones.find(backbone).name if backbone else None
        folder, why = choose_adapter(profiles, method, adapter, wanted)
        reasons.append(f"adapter {folder.name}: {why}")
    if backbone is not None:
        found = backbones.find(backbone)
    else:
        bundled = backbones.find("mini"), "the bundled one"
        found, why = trained_for.backbone_of(folder, files.read_config(folder)) if folder else bundled
        reasons.append(f"backbone {found.name}: {why}")
    if engine is None:
        engine = "llamacpp" if found.gguf else "transformers"
        reasons.append(f"engine {engine}: " + ("the local default" if found.gguf else f"no GGUF of {found.name} is known"))
    return WritingParts(method, folder, found, engine, tuple(reasons))


def compared_adapters(
    profiles: Path, method_names: Sequence[str], named: Sequence[str] = (), backbone: str | None = None, split: str | None = None
) -> tuple[dict[str, Path], list[str]]:
    """(adapter folders by method, why these) for methods that are compared: the named ones, each for the method that it was
    trained for, else the newest ones. All are of one backbone: the given one, else that of DEP's adapter, else that of the first;
    and where there are such, of one split.

    Raises NotFound when there is none, Incompatible when a named one is of none of the methods.
    """
    names: dict[str, str] = {}
    for name in named:
        method = files.read_config(files.folder_of(profiles, name))["type"]
        if method not in method_names or method in names:
            why = f"is of the method {method}, " + ("as is another one" if method in names else "which is not compared")
            raise Incompatible(f"adapter {name!r} {why}", "name one adapter for each method of --methods")
        names[method] = name
    wanted = [method for method in method_names if methods.find(method).needs_adapter]
    found, reasons = {}, []
    for method in sorted(wanted, key=lambda method: (method != "dep", method not in names)):
        try:
            found[method], why = choose_adapter(profiles, method, names.get(method), backbone, split)
        except NotFound as error:
            raise NotFound(error.message, f"{error.hint}; --methods nonperso,rag needs none") from None
        config = files.read_config(found[method])
        backbone, split = backbone or config["backbone"]["name"], split or config["split"]["name"]
        reasons.append(f"adapter {found[method].name}: {why}")
    return {method: found[method] for method in wanted}, reasons


def compared_parts(
    profiles: Path,
    method_names: Sequence[str],
    named: Sequence[str] = (),
    *,
    backbone: str | None = None,
    engine: str | None = None,
    split: str | None = None,
) -> tuple[WritingParts, dict[str, Path], list[str]]:
    """(what all compared methods are written with, adapter folders by method, why these): see `compared_adapters` and
    `writing_parts`, which say what they raise."""
    if engine == "openai":
        backbone = _model_of_endpoint(method_names, backbone)
    known = backbones.find(backbone).name if backbone and engine != "openai" else None
    folders, reasons = compared_adapters(profiles, method_names, named, known, split)
    main = "dep" if "dep" in folders else next(iter(folders), method_names[0])
    adapter = folders[main].name if folders else None
    parts = writing_parts(profiles, method=main, adapter=adapter, backbone=backbone, engine=engine)
    return parts, folders, [*reasons, *parts.reasons[bool(folders) :]]


def evaluation_folder(profiles: Path, parts: WritingParts, *, study: str | None, split: str | None, role: str) -> Path:
    """Where an evaluation goes if nobody says: a folder named after the adapter, or where there is none after the backbone, and
    after what else tells it apart."""
    if parts.adapter:
        name, own = parts.adapter.name, files.read_config(parts.adapter)["split"]["name"]
    else:
        name, own = f"{parts.backbone.name.rpartition('/')[2]}-text", None
    told_apart = [study, None if split == own else split and split.replace(":", "-"), role]
    return profiles / EVALUATIONS / "-".join(filter(None, [name, *told_apart]))


def _model_of_endpoint(method_names: Sequence[str], model: str | None) -> str:
    for method in method_names:
        if methods.find(method).needs_adapter:
            fitting = ", ".join(known.name for known in methods.METHODS.values() if not known.needs_adapter)
            raise no_soft_tokens(f"the method {method!r} needs soft tokens", fitting)
    if model is None:
        raise NotFound("no model is named for the endpoint", "--backbone NAME, as the endpoint calls it")
    return model
