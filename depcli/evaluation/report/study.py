"""What a person reads of a study: its marks in the main table, groups of users, and which variants are missing."""

from __future__ import annotations

from collections.abc import Iterator

from depcli.evaluation.report.titles import TITLES, Table, chance, number, signed

_FEW = ("nll", "meteor", "bertscore", "alignment", "judge")  # metrics whose differences are shown where there are many


def tests_reference(results: dict) -> bool:
    """Whether variants are tested against one of them, and not each against each."""
    return bool(results["study"] and results["study"]["reference"])


def mark(results: dict, name: str, metric: str) -> str:
    """A plus or minus where a variant is significantly better or worse than the reference, a space where another one is."""
    found = [one for one in results["differences"] if one["metric"] == metric and one["better"]]
    if not found:
        return ""
    mine = next((one["better"] for one in found if one["method"] == name), None)
    return " " if mine is None else "+" if mine == name else "-"


def told(results: dict) -> list[dict]:
    """The differences of a few metrics; the rest is in the results."""
    return [one for one in results["differences"] if one["metric"] in _FEW]


def groups(results: dict) -> Table:
    """The means in each group of users, methods side by side; none without groups."""
    found = results["groups"]
    if not found:
        return [], []
    metrics = [m for m in TITLES if any(m in values for part in found["parts"] for values in part["methods"].values())]
    rows = []
    for name in results["methods"]:
        for part in found["parts"]:
            means = part["methods"][name]
            values = (number(means.get(metric, {}).get("value"), metric) for metric in metrics)
            rows.append([name, f"{part['name']} ({part['users']:,})", *values])
    return ["method", "users", *(TITLES[metric] for metric in metrics)], rows


def between(results: dict) -> Table:
    """Whether what one method gains over another differs between the groups."""
    found = [one for one in (results["groups"] or {"between": ()})["between"] if one["metric"] in _FEW]
    names = [part["name"] for part in results["groups"]["parts"]] if results["groups"] else ["", ""]
    rows = [
        [
            f"{one['method']} - {one['against']}",
            TITLES[one["metric"]],
            signed(one["difference"]),
            chance(one["p"]),
            chance(one["p_holm"]),
            "yes" if one["significant"] else "not clear",
        ]
        for one in found
    ]
    return ["gain", "metric", " minus ".join(names), "p", "p (Holm)", "differs"], rows


def notes(results: dict) -> Iterator[str]:
    """What the study is, what its marks mean, and how to get what is missing."""
    study = results["study"]
    if not study:
        return
    yield f"study {study['name']}: {study['about']}"
    if study["reference"]:
        against = ", ".join(dict.fromkeys(one["against"] for one in results["differences"]))
        yield f"+ and -: significantly better and worse than {against}"
    if results["groups"]:
        parts = results["groups"]["parts"]
        yield (
            f"{parts[0]['name']}: the half of all users whose mean vector (of everything they wrote) lies farther from the mean "
            "of all reviews; p of the gains: permutation of users between the halves"
        )
    for label, command in study["missing"].items():
        yield f"missing: {label}; it needs an adapter: {command}"
