"""What a person reads of an evaluation: a table, the differences with their intervals, and what to know about them."""

from __future__ import annotations

from depcli.evaluation.metrics import METRICS

_TITLES = {
    "rouge1": "ROUGE-1", "rougeL": "ROUGE-L", "meteor": "METEOR", "bleu": "BLEU", "bertscore": "BERTScore", "nll": "NLL/token",
}  # fmt: skip
_BETTER = {"nll": "lower", "meteor": "higher"}


def table(results: dict) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): one row per method. A metric that was not computed shows '-'."""
    columns = ["method", *(_TITLES[name] for name in METRICS), _TITLES["nll"], "words", "empty"]
    rows = []
    for name, found in results["methods"].items():
        metrics = [_number(found["metrics"][metric]["value"], 2 if metric == "bleu" else 4) for metric in METRICS]
        likelihood = _number(found["nll"] and found["nll"]["per_token"], 4)
        rows.append([name, *metrics, likelihood, _number(found["mean_words"], 1), str(found["empty"])])
    return columns, rows


def differences(results: dict) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): each pair of methods, difference and interval, and which of the two is better where that is clear."""
    columns = ["difference", "metric", "mean", "95 % interval", "better"]
    rows = []
    for found in results["differences"]:
        if not found["clear"]:
            verdict = "not clear"
        else:
            wins = (found["difference"] < 0) == (_BETTER[found["metric"]] == "lower")
            verdict = found["method"] if wins else found["against"]
        interval = f"[{found['low']:+.4f}, {found['high']:+.4f}]"
        pair, metric = f"{found['method']} - {found['against']}", _TITLES[found["metric"]]
        rows.append([pair, metric, f"{found['difference']:+.4f}", interval, verdict])
    return columns, rows


def notes(results: dict) -> list[str]:
    """Sentences that belong beside the table."""
    words = next(iter(results["methods"].values()))["mean_reference_words"]
    lines = [f"{results['requests']:,} requests of {results['users']:,} users; a real review has {words:.1f} words on average"]
    if results["differences"]:
        one = results["differences"][0]
        drawn = f"{one['resamples']:,} resamples, seed {one['seed']}"
        lines.append(f"intervals: paired bootstrap over users, {drawn}, not corrected for several comparisons")
    for name, found in results["methods"].items():
        if found["stopped_by_length"]:
            lines.append(f"{name}: {found['stopped_by_length']:,} texts ended at the token limit")
        if found["nll"] and found["nll"]["cut"]:
            lines.append(f"{name}: likelihood of {found['nll']['cut']:,} long reviews counts their beginning only")
        if found.get("profiles"):
            lines.append(f"{name}: {_profiles(found['profiles'])}")
    return [*lines, *results["notes"]]


def _profiles(found: dict) -> str:
    """What the profiles of a method took and what failed."""
    said = [
        f"a profile took {found['mean_calls']:.1f} calls, {found['mean_prompt_tokens']:,.0f} tokens read, "
        f"{found['mean_generated_tokens']:,.0f} written"
    ]
    said += [f"{kind}: {count:,} answers" for kind, count in found["failures"].items()]
    for what, words in (("dropped", "questions without an answer"), ("empty", "empty profiles"),
                        ("commanding", "reviews read as orders to a model")):  # fmt: skip
        if found[what]:
            said.append(f"{found[what]:,} {words}")
    return "; ".join(said)


def signatures(results: dict) -> dict[str, str]:
    """Metric -> settings it was computed with, the same for all methods of a run."""
    first = next(iter(results["methods"].values()))
    return {name: found["signature"] for name, found in first["metrics"].items()}


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
