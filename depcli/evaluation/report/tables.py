"""The tables of an evaluation: values, differences with their intervals, costs."""

from __future__ import annotations

from collections.abc import Iterator

from depcli.evaluation.measures.swap import HISTORY, TEXT, VECTORS
from depcli.evaluation.report import study
from depcli.evaluation.report.titles import TITLES, Table, chance, drawn_from, interval, number, signed

_SWAPPED = {HISTORY: "text and soft tokens", TEXT: "text", VECTORS: "soft tokens"}
_MOST_PAIRS = 3  # all shown up to here, else those of one method


def tables(results: dict) -> Iterator[Table]:
    """(columns, rows) of each table that there is something to say in."""
    for make in (table, standard_errors, study.groups, study.between, differences, swaps, costs):
        columns, rows = make(results)
        if rows:
            yield columns, rows


def table(results: dict) -> Table:
    """One row per method. A metric that was not computed shows '-'; a star: significantly better than every other method; in a
    study + and -: better and worse than its reference."""
    metrics = _metrics(results)
    columns = ["method", *(TITLES[metric] for metric in metrics), "empty"]
    rows = [
        [name, *(number(value(found, metric), metric) + _star(results, name, metric) for metric in metrics), str(found["empty"])]
        for name, found in results["methods"].items()
    ]
    return columns, rows


def standard_errors(results: dict) -> Table:
    """Two rows per method where there are several seeds: over users (or what is drawn) and over seeds."""
    metrics = _metrics(results)
    columns = ["standard error", "over", *(TITLES[metric] for metric in metrics)]
    kinds = {"se_users": drawn_from(results["users"]), **({"se_seeds": "seeds"} if len(results["seeds"]) > 1 else {})}
    rows = [
        [name, kind, *(number(summary_of(found, metric).get(key), metric) for metric in metrics)]
        for name, found in results["methods"].items()
        for key, kind in kinds.items()
    ]
    return columns, rows


def differences(results: dict) -> Table:
    """Pairs of methods, at most a few, as `difference_rows`."""
    return difference_rows(told(results), results["targets"])


def difference_rows(tests: list[dict], targets: int) -> Table:
    """Difference, interval, p values, and which of the two is better where that is significant; beside the metric the reviews
    that a difference rests on, where these are not all `targets`."""
    columns = ["difference", "metric", "mean", "95 % interval", "p", "p (Holm)", "better"]
    rows = [
        [
            f"{found['method']} - {found['against']}",
            TITLES[found["metric"]] + _of(found["requests"], targets),
            signed(found["difference"]),
            interval(found),
            chance(found["p"]),
            chance(found["p_holm"]),
            found["better"] or "not clear",
        ]
        for found in tests
    ]
    return columns, rows


def _of(reviews: int, targets: int) -> str:
    return "" if reviews == targets else f" ({reviews:,} of {targets:,})"


def swaps(results: dict) -> Table:
    """The swap test: NLL per token of the real reviews with the user's own and with a stranger's."""
    columns = ["swap test", "a stranger's", "NLL own", "stranger", "own - stranger", "95 % interval"]
    rows = [
        [
            name,
            _what(found["swap"], what),
            number(one["own"], "nll"),
            number(one["stranger"], "nll"),
            signed(one["difference"]),
            interval(one),
        ]
        for name, found in results["methods"].items()
        for what, one in found["swap"].items()
        if one
    ]
    return columns, rows


def costs(results: dict) -> Table:
    """What a review took, and any profile behind it, which is made once for a user and kept. Seconds are those of this run: '-'
    where it found all texts there."""
    columns = ["cost", "tokens read", "written", "seconds"]
    asked = any(found["profiles"] for found in results["methods"].values())
    columns += ["profile: calls", "tokens read", "written"] if asked else []
    rows = []
    for name, found in results["methods"].items():
        run, profiles = found["generation"], found["profiles"]
        seconds = f"{run['seconds'] / run['requests']:.2f}" if run["requests"] else "-"
        row = [name, f"{found['mean_prompt_tokens']:,.0f}", f"{found['mean_generated_tokens']:,.0f}", seconds]
        made = [f"{profiles[f'mean_{what}']:,.0f}" for what in ("calls", "prompt_tokens", "generated_tokens")] if profiles else []
        rows.append(row + (made or ["-"] * 3 if asked else []))
    return columns, rows


def signatures(results: dict) -> dict[str, str]:
    """Metric -> settings it was computed with, the same for all methods of a run."""
    first = next(iter(results["methods"].values()))
    return {name: found["signature"] for name, found in first["metrics"].items()}


def value(found: dict, metric: str) -> float | None:
    """A metric of one method of the results, NLL per token among them."""
    return summary_of(found, metric).get("per_token" if metric == "nll" else "value")


def best(results: dict, metric: str) -> str | None:
    """The method that is significantly better than every other one, if one is."""
    won = [found["better"] for found in results["differences"] if found["metric"] == metric]
    return next((name for name in results["methods"] if won.count(name) == len(results["methods"]) - 1 > 0), None)


def summary_of(found: dict, metric: str) -> dict:
    """What the results say of a metric of one method, NLL per token among them; empty where there is nothing."""
    return (found["nll"] if metric == "nll" else found["metrics"].get(metric)) or {}


def _metrics(results: dict) -> list[str]:
    """Those that some method has, in the order of the table."""
    return [metric for metric in TITLES if any(summary_of(found, metric) for found in results["methods"].values())]


def _star(results: dict, name: str, metric: str) -> str:
    """A star, a space of its width where another method of the column has one, else nothing; in a study its mark."""
    if study.tests_reference(results):
        return study.mark(results, name, metric)
    winner = best(results, metric)
    return "" if winner is None else "*" if name == winner else " "


def told(results: dict) -> list[dict]:
    """The differences that are shown: all of up to three pairs, else those of DEP, or of the last method."""
    found, names = results["differences"], list(results["methods"])
    if study.tests_reference(results):
        return study.told(results)
    if len({(one["method"], one["against"]) for one in found}) <= _MOST_PAIRS:
        return found
    main = "dep" if "dep" in names else names[-1]
    return [one for one in found if main in (one["method"], one["against"])]


def _what(swap: dict, variant: str) -> str:
    """What was the stranger's; of a method with only one of the two it is not said which."""
    return _SWAPPED[variant] if len(swap) > 1 else "history"
