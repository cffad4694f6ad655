"""A profiles folder as a whole: its store with the embedder that belongs to it, and what is in it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from depcli import backbones, embedders, methods
from depcli.adapters import files as adapter_files
from depcli.adapters import trained_for
from depcli.analysts.cache import FOLDER as PROFILES
from depcli.analysts.cache import unchanging
from depcli.backbones.catalogue import Backbone
from depcli.engines import FORMS
from depcli.engines.endpoint import find_endpoint, no_soft_tokens
from depcli.engines.llama.kept_states import FOLDER as STATES
from depcli.engines.llama.kept_states import KeptStates
from depcli.errors import BadInput, DepError, Incompatible, NotFound
from depcli.store import Snapshot, Store, commits
from depcli.store.schema import COMMITS, DATA_TABLES
from depcli.store.upkeep import erase

ADAPTERS, EVALUATIONS = adapter_files.FOLDER, "evaluations"


def store_to_fill(
    profiles: Path, embedder: str | None, *, offline: bool, ask: Callable[[str], bool] | None = None
) -> tuple[Store, object, str]:
    """(store, its embedder, why this one). Makes the store when there is none; a store that exists keeps its embedder.

    Raises Incompatible when another embedder is named than the store was made with.
    """
    try:
        store = Store.open(profiles)
    except NotFound:
        chosen, reason = embedders.choose(embedder, offline=offline, ask=ask)
        return Store.create(profiles, chosen.identity), chosen, reason
    chosen = embedders.for_store(store.embedder, offline=offline, name=embedder, ask=ask)
    return store, chosen, "the store was made with it"


def kept_states(store: Store, snapshot: Snapshot) -> KeptStates:
    """The prompt states kept beside a store, for prompts made from a snapshot. None is kept once the snapshot's commit cannot be
    read any more: somebody may have been forgotten."""
    profiles = Path(store.path)

    @contextmanager
    def unforgotten() -> Iterator[bool]:
        with unchanging(profiles):
            yield snapshot.commit.id in {commit.id for commit in commits.readable(Store.open(profiles).log())}

    return KeptStates(profiles / STATES, unforgotten)


def overview(profiles: Path, at: str | None = None) -> dict:
    """What a profiles folder holds, ready for JSON; with `at` the counts and commits of then. Sizes in bytes, as they are now.
    Raises NotFound when it has no store."""
    store = Store.open(profiles)
    snapshot = store.snapshot(at)
    log = [commit for commit in commit_documents(store) if commit["number"] <= snapshot.commit.number]
    return {
        "profiles": str(profiles.resolve()),
        "store": {
            **snapshot.counts(),
            "embedder": asdict(store.embedder),
            "bytes": _bytes_under(store.folder),
            "tables": {name: _bytes_under(store.folder / f"{name}.lance") for name in (*DATA_TABLES, COMMITS)},
            "readable_commits": sum(commit["readable"] for commit in log),
            "unfinished_erasing": erase.unfinished(store.folder),
            "commits": log,
        },
        "adapters": _adapters(profiles, asdict(store.embedder)),
        "unfinished_adapters": adapter_files.unfinished(profiles),
        "adapters_under_way": adapter_files.under_way(profiles),
        "evaluations": [
            {"name": folder.name, "bytes": _bytes_under(folder)} for folder in sorted((profiles / EVALUATIONS).glob("*/"))
        ],
        "cache": {folder.name: _bytes_under(profiles / folder) for folder in (PROFILES, STATES)},
    }


def run_named(profiles: Path, run: str) -> Path:
    """The path as it is named, or where there is none the evaluation of that name in the profiles folder."""
    named = profiles / EVALUATIONS / run
    return named if not Path(run).exists() and named.is_dir() else Path(run)


def commit_documents(store: Store) -> list[dict]:
    """Every commit of a store, oldest first, ready for JSON. `readable` is whether its data are still there."""
    log = store.log()
    there = {commit.id for commit in commits.readable(log)}
    said = ("number", "id", "created", "action", "source", "counts")
    return [{**{key: getattr(commit, key) for key in said}, "readable": commit.id in there} for commit in log]


def commits_in_use(profiles: Path) -> set[str]:
    """The ids of the commits that finished adapters are evaluated on and unfinished ones go on with; one whose checkpoint is
    damaged goes on with none."""
    used = {entry["store_commit"] for entry in _adapters(profiles, {}) if "store_commit" in entry}
    for name in adapter_files.unfinished(profiles):
        from depcli.training import checkpoints  # brings PyTorch, for the few who have such a folder

        with suppress(BadInput, NotFound):
            used.add(checkpoints.settings_of(adapter_files.folder_of(profiles, name))["store_commit"])
    return used


def untestable(profiles: Path) -> set[str]:
    """The names of the finished adapters whose commit cannot be read any more: what they have not seen is not known."""
    there = {commit["id"] for commit in commit_documents(Store.open(profiles)) if commit["readable"]}
    return {adapter["name"] for adapter in _adapters(profiles, {}) if adapter.get("store_commit", "") not in {"", *there}}


def _adapters(profiles: Path, embedder: dict) -> list[dict]:
    """The finished adapters, as they belong to vectors of this `embedder`."""
    return [_adapter(profiles / ADAPTERS / name, embedder) for name in adapter_files.names(profiles)]


def _adapter(folder: Path, embedder: dict) -> dict:
    """One adapter; a folder that cannot be read says why under `problem`."""
    entry = {"name": folder.name, "bytes": _bytes_under(folder)}
    try:
        config = adapter_files.read_config(folder)
    except DepError as error:
        return {**entry, "problem": error.message}
    problem = {}
    if not (folder / adapter_files.WEIGHTS).is_file():
        again = f"restore the file, or dep train --replace --adapter {folder.name}"
        problem = {"problem": f"{adapter_files.WEIGHTS} is gone: {again}"}
    elif config["embedder"] != embedder:
        problem = {"problem": f"trained on {config['embedder']['name']} vectors, which are not this store's"}
    return {
        **entry,
        "method": config["type"],
        "backbone": config["backbone"]["name"],
        "embedder": config["embedder"]["name"],
        "split": config["split"]["name"],
        "store_commit": config["store_commit"],
        "validation_losses": config["validation_losses"],
        **problem,
    }


def _bytes_under(folder: Path) -> int:
    """How much the files below hold; those that others remove at this moment count or not."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def choose_adapter(
    profiles: Path, method: str, name: str | None, backbone: str | None, split: str | None = None
) -> tuple[Path, str]:
    """(folder, why this one) of the adapter to write with: the named one, else the newest usable one of the method, of `backbone`
    or of all, and where there are any that were trained on `split`, of these. Raises NotFound when there is none."""
    if name is not None:
        return adapter_files.folder_of(profiles, name), "as named"
    usable = {entry["name"]: entry for entry in usable_adapters(profiles)}
    fitting = [
        profiles / ADAPTERS / name
        for name, entry in usable.items()
        if entry["method"] == method and backbone in (None, entry["backbone"])
    ]
    if not fitting:
        wanted = f" for the backbone {backbone}" if backbone else ""
        there = adapter_files.names(profiles)
        known = ", ".join(there) or "none"
        if unusable := ", ".join(name for name in there if name not in usable):
            known += f"; dep status says what is wrong with {unusable}"
        options = ("" if method == "dep" else f" --method {method}") + (f" --backbone {backbone}" if backbone else "")
        hint = f"train one: dep train{options} --profiles {shlex.quote(str(profiles))}"
        raise NotFound(f"no adapter of {method}{wanted} in {profiles} (there: {known})", hint)
    alike = [folder for folder in fitting if usable[folder.name]["split"] == split]
    newest = max(alike or fitting, key=lambda folder: (folder / adapter_files.CONFIG).stat().st_mtime)
    among = f"{len(alike)} of the split {split}" if 0 < len(alike) < len(fitting) else str(len(fitting))
    return newest, "the only one" if len(fitting) == 1 else f"the newest of {among}"


def usable_adapters(profiles: Path) -> list[dict]:
    """What `overview` says of each adapter that is whole and belongs to this store; `dep status` says what is wrong with others.
    Raises NotFound when there is no store."""
    embedder = asdict(Store.open(profiles).embedder)
    return [entry for entry in _adapters(profiles, embedder) if "problem" not in entry]


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
        method = adapter_files.read_config(adapter_files.folder_of(profiles, name))["type"]
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
        config = adapter_files.read_config(found[method])
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


def trained_choices(folders: Mapping[str, Path]) -> dict:
    """What the first of these adapters was trained with (fields of personal.choices.Choices); nothing for none."""
    return next((adapter_files.read_config(folder)["choices"] for folder in folders.values()), {})


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
        found, why = trained_for.backbone_of(folder, adapter_files.read_config(folder)) if folder else bundled
        reasons.append(f"backbone {found.name}: {why}")
    if engine is None:
        engine = "llamacpp" if found.gguf else "transformers"
        reasons.append(f"engine {engine}: " + ("the local default" if found.gguf else f"no GGUF of {found.name} is known"))
    return WritingParts(method, folder, found, engine, tuple(reasons))


def _model_of_endpoint(method_names: Sequence[str], model: str | None) -> str:
    for method in method_names:
        if methods.find(method).needs_adapter:
            fitting = ", ".join(known.name for known in methods.METHODS.values() if not known.needs_adapter)
            raise no_soft_tokens(f"the method {method!r} needs soft tokens", fitting)
    if model is None:
        raise NotFound("no model is named for the endpoint", "--backbone NAME, as the endpoint calls it")
    return model
