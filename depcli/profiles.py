"""A profiles folder as a whole: its store with the embedder that belongs to it, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from depcli import embedders
from depcli.adapters import files as adapter_files
from depcli.analysts.cache import FOLDER as PROFILES
from depcli.analysts.cache import unchanging
from depcli.engines.llama.kept_states import FOLDER as STATES
from depcli.engines.llama.kept_states import KeptStates
from depcli.errors import BadInput, DepError, NotFound
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
        "finished": adapter_files.finished(folder, config),
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


def usable_adapters(profiles: Path) -> list[dict]:
    """What `overview` says of each adapter that is whole and belongs to this store; `dep status` says what is wrong with others.
    Raises NotFound when there is no store."""
    embedder = asdict(Store.open(profiles).embedder)
    return [entry for entry in _adapters(profiles, embedder) if "problem" not in entry]
