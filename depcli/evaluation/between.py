"""`dep compare`: finished evaluations against each other, on the requests that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np

from depcli.errors import BadInput, Incompatible
from depcli.evaluation import predictions as files
from depcli.evaluation.measures.metrics import COUNTED
from depcli.evaluation.results import read_results
from depcli.evaluation.scoring import values_of
from depcli.evaluation.statistics.comparing import compare, description
from depcli.evaluation.statistics.corpus import Counts
from depcli.evaluation.statistics.significance import drawn
from depcli.evaluation.statistics.values import Values

Key = tuple[str, str]  # user_id, asin


@dataclass(frozen=True, eq=False)
class Run:
    """A finished evaluation: its name here, results.json, and the lines of scores.jsonl by method, target and seed."""

    name: str
    results: dict
    scores: Mapping[tuple[str, Key, int], dict]

    @property
    def targets(self) -> dict[Key, str]:
        """The targets with a hash of the real review."""
        return {key: line["real"] for (_, key, _), line in self.scores.items()}


def compare_runs(folders: Sequence[Path]) -> dict:
    """Test the evaluations in `folders`, each against each later one: methods of the same name, or where they share none each
    with each. Values of a target are averaged over the seeds that all runs have.

    Returns {"runs", "targets", "requests", "users", "seeds", "other_settings", "systems", "differences", "tests", "notes"};
    systems are called "method (run)". Raises what read_results does, and Incompatible for runs of other splits, of other
    reviews, or without a request in common.
    """
    runs = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    first = runs[0]
    for run in runs[1:]:
        _check_split(first, run)
    seeds = sorted(set.intersection(*(set(run.results["seeds"]) for run in runs)))
    targets = [key for key in first.targets if all(key in run.targets for run in runs)]
    _check_shared(runs, targets, seeds)
    notes: list[str] = []
    systems: dict[str, dict[str, Values | Counts]] = {}
    for run in runs:
        for method in run.results["methods"]:
            rows = [[run.scores[method, key, seed] for key in targets] for seed in seeds]
            systems[_label(method, run)] = values_of(rows)
    for metric in sorted(_measured_otherwise(runs)):
        notes.append(f"{metric} is left out: the runs measured it with other settings")
        for values in systems.values():
            values.pop(metric, None)
    for metric in COUNTED:
        if len({metric in values for values in systems.values()}) > 1:
            notes.append(f"{metric} is left out: an earlier version of dep made some of the runs, and kept no counts")
            for values in systems.values():
                values.pop(metric, None)
    if _counts_other_tokens(systems):
        notes.append("nll is left out: the runs count other tokens of the same reviews, as other backbones do")
        for values in systems.values():
            values.pop("nll", None)
    users = [user for user, _ in targets]
    differences = compare(systems, drawn(users), [pair for a, b in combinations(runs, 2) for pair in _pairs(a, b)])
    return {
        "runs": [
            {"name": run.name, "folder": str(folder), "created": run.results["created"], "targets": run.results["targets"]}
            for run, folder in zip(runs, folders, strict=True)
        ],
        "targets": len(targets),
        "requests": len(targets) * len(seeds),
        "users": len(set(users)),
        "seeds": seeds,
        "other_settings": _other_settings(runs),
        "systems": {name: {metric: one.value() for metric, one in found.items()} for name, found in systems.items()},
        "differences": differences,
        "tests": description(differences),
        "notes": notes,
    }


def _read(folder: Path, name: str) -> Run:
    results = read_results(folder)
    lines = files.read(folder / files.SCORES, remedy="run its `dep eval` again: the scores are made anew")
    scores = {(line["method"], (line["user_id"], line["asin"]), line["seed"]): line for line in lines}
    expected = results["requests"] * len(results["methods"])
    if len(scores) != expected:
        raise BadInput(
            f"{folder / files.SCORES} has {len(scores):,} lines, not {expected:,}", "run its `dep eval` again: they are made anew"
        )
    return Run(name, results, scores)


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise Incompatible(f"{folders[0]} is there more than once", "name each run once")


def _check_split(a: Run, b: Run) -> None:
    ours, theirs = a.results["settings"], b.results["settings"]
    if _split(ours) != _split(theirs):  # the digest is also of what an adapter learned from, which may differ
        raise Incompatible(
            f"{a.name} and {b.name} are evaluations of other splits: expected {_split(ours)}, found {_split(theirs)}",
            "evaluate both on the same commit of the same store (--at), with the same --split",
        )


def _split(settings: dict) -> str:
    return f"{settings['split']} of commit {settings['store_commit']}"


def _check_shared(runs: Sequence[Run], targets: Sequence[Key], seeds: Sequence[int]) -> None:
    names, remedy = " and ".join(run.name for run in runs), "evaluate them with the same --split and --seed, and --limit or none"
    if not targets:
        raise Incompatible(f"{names} have no held-out review in common", remedy)
    if not seeds:
        each = "; ".join(f"{run.name}: {', '.join(map(str, run.results['seeds']))}" for run in runs)
        raise Incompatible(f"{names} have no sampling seed in common ({each})", remedy)
    for run in runs[1:]:
        if any(run.targets[key] != runs[0].targets[key] for key in targets):
            raise Incompatible(
                f"some real reviews in {run.name} are not those in {runs[0].name}", "evaluate both on one commit (--at)"
            )


def _measured_otherwise(runs: Sequence[Run]) -> set[str]:
    """Metrics whose signatures are not the same in all runs that have them."""
    signatures: dict[str, set[str]] = {}
    for run in runs:
        for name, found in next(iter(run.results["methods"].values()))["metrics"].items():
            if found["value"] is not None and found["se_users"] is not None:
                signatures.setdefault(name, set()).add(found["signature"])
    return {name for name, said in signatures.items() if len(said) > 1}


def _counts_other_tokens(systems: Mapping[str, Mapping[str, Values | Counts]]) -> bool:
    tokens = [values["nll"].weights for values in systems.values() if "nll" in values]
    return any(not np.array_equal(tokens[0], other) for other in tokens[1:])


def _pairs(a: Run, b: Run) -> list[tuple[str, str]]:
    """(against, method): `b` is what is measured against `a`."""
    ours, theirs = list(a.results["methods"]), list(b.results["methods"])
    shared = [(name, name) for name in ours if name in theirs]
    return [(_label(one, a), _label(other, b)) for one, other in shared or product(ours, theirs)]


def _label(method: str, run: Run) -> str:
    return f"{method} ({run.name})"


def _settings(results: dict) -> dict:
    """The settings, and how the adapters were trained among them."""
    adapters = results["settings"]["adapters"]
    trained = {label: {**adapters.get(label, {}), **found["options"]} for label, found in results["training"].items()}
    return {**results["settings"], "adapters": adapters | trained}


def _other_settings(runs: Sequence[Run]) -> dict[str, list]:
    """Settings that are not the same in all runs, by their path ("sampling.temperature"), a value for each run. What not all have
    is no difference: it belongs to a method, or to another version of dep."""
    leaves = [_leaves(_settings(run.results)) for run in runs]
    methods = set.intersection(*(set(run.results["methods"]) for run in runs))
    found = {}
    for path in (path for path in leaves[0] if all(path in each for each in leaves)):
        values = [each[path] for each in leaves]
        theirs = path[0] in files.PER_METHOD and path[1:2] and path[1] not in methods
        if not theirs and any(value != values[0] for value in values):
            found[".".join(path)] = values
    return found


def _leaves(value, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {place: leaf for name, entry in value.items() for place, leaf in _leaves(entry, (*path, name)).items()}
