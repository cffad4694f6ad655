"""From the name of a study to what can be compared: which adapters there are, and how to train those that are missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depcli import backbones, methods
from depcli.actions.choosing import WritingParts, choose_adapter, compared_parts
from depcli.actions.presets import PRESETS
from depcli.actions.retraining import commit_gone, named_backbone, of_backbone, option, own, said
from depcli.adapters import files
from depcli.errors import Incompatible, NotFound
from depcli.evaluation.studies import STUDIES, Study, Variant, plain
from depcli.personal.template import GUIDED, Template
from depcli.profiles import ADAPTERS, usable_adapters
from depcli.store import Store

_PAPERS = {name: PRESETS["dep-paper"].learned[name] for name in ("epochs", "targets_per_user", "reduction")}


@dataclass(frozen=True)
class Found:
    """`variants` that can be evaluated, the pairs (against, other) of their labels that are tested (None: all), and for those
    that lack an adapter the command that trains it."""

    variants: tuple[Variant, ...]
    pairs: tuple[tuple[str, str], ...] | None
    missing: Mapping[str, str]


def prepare(
    profiles: Path,
    name: str,
    method_names: Sequence[str],
    named: Sequence[str] = (),
    *,
    backbone: str | None = None,
    engine: str | None = None,
) -> tuple[WritingParts, dict[str, Path], list[str], Found]:
    """What choosing.compared_parts gives for the methods that can be written with what is there, and what the study `name` finds
    for all of them. Raises what these raise."""
    needing = [method for method in method_names if methods.find(method).needs_adapter]
    lacking = {method for method in needing if not _any_adapter(profiles, method, backbone)}
    there = [method for method in method_names if method not in lacking]
    parts, folders, reasons = compared_parts(profiles, there or ["nonperso"], named, backbone=backbone, engine=engine)
    if STUDIES[name].levels:
        like = {method: _base(profiles, name, method, newest, parts.backbone.name, named) for method, newest in folders.items()}
        others = {
            f"adapter {newest.name}: ": f"adapter {like[method].name}: its variants are compared"
            for method, newest in folders.items()
            if like[method] != newest
        }
        reasons = [next((ours for its, ours in others.items() if why.startswith(its)), why) for why in reasons]
        parts, folders = replace(parts, adapter=like.get(parts.method)), like
        return parts, folders, reasons, find(profiles, name, method_names, folders, named_backbone(parts.backbone))
    missing = {
        method: _command(profiles, method, None, named_backbone(parts.backbone), {}) for method in needing if method in lacking
    }
    return parts, folders, reasons, Found(tuple(plain(there, folders)), None, missing)


def _any_adapter(profiles: Path, method: str, backbone: str | None) -> bool:
    try:
        return bool(choose_adapter(profiles, method, None, backbones.find(backbone).name if backbone else None))
    except NotFound:
        return False


def find(profiles: Path, name: str, method_names: Sequence[str], adapters: Mapping[str, Path], backbone: str) -> Found:
    """The variants of the study `name` for these methods. `adapters` (folders by method) say what is the same for all variants
    of a method: an adapter belongs to the study when it differs from that one in the studied setting alone.

    Raises NotFound, with the commands that train them, when none of the adapters is there that the study is about.
    """
    study = STUDIES[name]
    variants, pairs, missing = [], [], {}
    for method in method_names:
        own, needs = [], methods.find(method).needs_adapter
        if not _concerns(study, method):
            raise Incompatible(
                f"the study {name!r} means nothing to {method}: {study.about}", f"--methods {','.join(study.methods)}"
            )
        for level, settings in study.levels:
            settings = {**settings, **_template(name, adapters.get(method), backbone)}
            label = f"{method}, {level}" if len(method_names) > 1 else level
            if not needs:
                own.append((level, Variant(label, method, None, settings)))
            elif settings.get("history") != 0:  # nothing could be learned
                folder = _adapter(profiles, method, adapters.get(method), settings)
                if folder:
                    own.append((level, Variant(label, method, folder, settings)))
                else:
                    missing[label] = _command(profiles, method, adapters.get(method), backbone, settings)
        variants += [variant for _, variant in own]
        against = next((one for level, one in own if level == study.reference), own[0][1] if own else None)
        pairs += [(against.label, variant.label) for _, variant in own if variant is not against]
    if not pairs:
        commands = "\n".join(missing.values()) or f"name methods with past reviews: --methods {','.join(study.methods)}"
        raise NotFound(f"the study {name!r} has {len(variants)} of the variants that it compares", commands)
    for method in study.beside:
        pairs.append((pairs[0][0], method))
        variants.append(Variant(method, method))
    return Found(tuple(variants), tuple(pairs), missing)


def _base(profiles: Path, name: str, method: str, newest: Path, backbone: str, named: Sequence[str]) -> Path:
    """What the variants of a method are to be like but for what is studied: the adapter that was named; else the one with which
    most variants are there, of several the one with the fewest settings of its own, then the newest."""
    if newest.name in named:
        return newest
    found = []
    for folder in _adapters(profiles, method):
        config = files.read_config(folder)
        if config["backbone"]["name"] == backbone:
            there = sum(_adapter(profiles, method, folder, settings) is not None for _, settings in STUDIES[name].levels)
            found.append(((there, -len(own(said(config))), files.finished(folder, config)), folder))
    return max(found, default=(None, newest), key=lambda pair: pair[0])[1]


def _adapters(profiles: Path, method: str) -> Iterator[Path]:
    """The usable adapters of a method."""
    return (profiles / ADAPTERS / entry["name"] for entry in usable_adapters(profiles) if entry["method"] == method)


def _template(study: str, base: Path | None, backbone: str) -> dict[str, str]:
    """The template that a study needs, where the one of `base` or of the backbone cannot show what is studied."""
    if study != "guidance":
        return {}
    own = files.template_of(base, files.read_config(base)) if base else backbones.find(backbone).template
    return {} if Template(own).has_guidance() else {"template": GUIDED}


def _concerns(study: Study, method: str) -> bool:
    """Whether the settings of a study change what a method does."""
    found = methods.find(method)
    of_text = {"history", "retrieval"}
    return bool(found.history) and (found.needs_adapter or of_text.issuperset(key for _, level in study.levels for key in level))


def _adapter(profiles: Path, method: str, base: Path | None, settings: Mapping[str, object]) -> Path | None:
    """The newest adapter with these settings that is otherwise like `base`."""
    if base is None:
        return None
    wanted = {**said(files.read_config(base)), **settings}
    configs = {folder: files.read_config(folder) for folder in _adapters(profiles, method)}
    fitting = [folder for folder, config in configs.items() if said(config) == wanted]
    return max(fitting, key=lambda folder: (folder == base, files.finished(folder, configs[folder])), default=None)


def _command(profiles: Path, method: str, base: Path | None, backbone: str, settings: Mapping[str, object]) -> str:
    """How the adapter with these settings is trained, otherwise like `base`, or where there is none like DEP's in the paper.

    Raises NotFound when the commit that `base` was trained on is gone: nothing can be trained like it.
    """
    config = files.read_config(base) if base else None
    if config:
        try:
            Store.open(profiles).snapshot(config["store_commit"])
        except NotFound as error:
            raise commit_gone([base], error) from error
    others = own(said(config)) if config else _PAPERS if method == "dep" else {}
    words = ["dep train", *([] if method == "dep" else [f"--method {method}"]), f"--backbone {backbone}"]
    words += [option(key, value) for key, value in {**others, **settings}.items()]
    if config:
        like = of_backbone(base, config, backbones.find(backbone))
        words += [option(key, value) for key, value in like.items() if key not in settings]
        words.append(f"--at {config['store_commit']}")
    short = "-".join(str(value).lower().replace("true", "with").replace("false", "without") for value in settings.values())
    stem = base.name if base else "-".join([backbone.rpartition("/")[2], *([] if method == "dep" else [method])])
    name = "-".join([stem, *([next(iter(settings)).replace("_", "-"), short] if settings else [])])
    return " ".join([*words, f"--adapter {name}", f"--profiles {shlex.quote(str(profiles))}"])
