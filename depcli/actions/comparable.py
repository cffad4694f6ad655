"""What adapters that are compared have in common: the commit, the moment and the split that they were trained on.

One that was trained on others may have learned what would be tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from depcli.actions.retraining import commit_gone
from depcli.adapters import files
from depcli.errors import Incompatible, NotFound
from depcli.evaluation.studies import Variant
from depcli.personal.history import moment_text
from depcli.splits import named
from depcli.splits.leakage import check_adapters
from depcli.splits.split import TARGETS_PER_USER, Split

Trained = Mapping[str, tuple[Path, dict]]  # folder and configuration of each adapter, by label


def trained_adapters(variants: Sequence[Variant], *, min_peers: int | None, history: int | None) -> Trained:
    """The adapters of these variants. Raises Incompatible for one of another method, or trained with another of what is given."""
    found = {v.label: (v.adapter, files.read_config(v.adapter)) for v in variants if v.adapter}
    for variant in variants:
        if variant.label in found:
            folder, config = found[variant.label]
            files.check_method(folder, config, variant.method)
            files.min_peers_of(folder, config, min_peers)
            files.history_of(folder, config, history)
    return found


def common_moment(trained: Trained, asked: float | None) -> float | None:
    """The moment that these adapters were trained as of, else the one that was asked for; None for all reviews."""
    moments = {folder.name: config["as_of"] for folder, config in trained.values()}
    for name, moment in moments.items():
        if asked not in (None, moment):
            raise Incompatible(
                f"adapter {name!r} was trained on {_reviews_of(moment)}, not on those up to {moment_text(asked)}",
                "leave --as-of out, or train another: dep train --as-of",
            )
    if len(set(moments.values())) > 1:
        each = "; ".join(f"{name!r} on {_reviews_of(moment)}" for name, moment in moments.items())
        raise Incompatible(f"the adapters were not trained on the same reviews: {each}", "evaluate them one by one")
    return next(iter(moments.values()), asked)


def common_snapshot(store, trained: Trained, at: str | None, as_of: float | None):
    """The store as the first adapter saw it, unless a commit is named; what exists at `as_of` of it."""
    seen = next((config["store_commit"] for _, config in trained.values()), None)
    try:
        return store.snapshot(at or seen, as_of=as_of)
    except NotFound as error:
        if at is not None:
            raise
        raise commit_gone([folder for folder, _ in trained.values()], error) from error


def common_split(snapshot, trained: Trained, asked: str | None) -> Split:
    """The split that is asked for, else the one that the first adapter was trained on, which has to be that of all; how many
    reviews of each user they learned from it may differ."""
    usual = {"split": {"name": named.LEAVE_LAST_OUT}, "targets_per_user": TARGETS_PER_USER}  # as `dep train` by itself
    first = next((config for _, config in trained.values()), usual)
    split = named.make(snapshot, asked or first["split"]["name"], targets_per_user=first["targets_per_user"])
    digests = {first["targets_per_user"]: split.digest}
    for name, known, each in ((folder.name, config["split"], config["targets_per_user"]) for folder, config in trained.values()):
        if known["name"] != split.name:
            raise Incompatible(
                f"adapter {name!r} was trained on the split {known['name']}, not on {split.name}: it may have learned what "
                "would be tested",
                f"evaluate it with --split {known['name']}, name an --adapter of that split, or train one: "
                f"dep train --split {split.name} --adapter NAME",
            )
        if each not in digests:
            digests[each] = named.make(snapshot, split.name, targets_per_user=each).digest
        if known["digest"] != digests[each]:
            raise Incompatible(
                f"adapter {name!r} was trained on another split ({known['name']}) of this store",
                "evaluate the store that it was trained on, or train an adapter on this one"
                + (", where repeated texts are no targets any more" if split.repeated else ""),
            )
    check_adapters(split, {folder.name: config for folder, config in trained.values()})
    return split


def _reviews_of(moment: float | None) -> str:
    return "all reviews of its store" if moment is None else f"the reviews up to {moment_text(moment)}"
