"""From the files of an evaluation to numbers: nothing here generates, and running it again gives the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import fmean

from depcli.evaluation import predictions as files
from depcli.evaluation.metrics import METRICS, Score, is_empty
from depcli.evaluation.significance import paired_bootstrap

COMPARED = ("nll", "meteor")
_BOOTSTRAP_SEED = 0
_COSTS = ("calls", "prompt_tokens", "generated_tokens")


def score_files(
    out: Path, methods: Sequence[str], ids: Sequence[str], on_progress: Callable[[dict], None] = lambda event: None
) -> dict:
    """Score the predictions of `methods` for the requests `ids` in the folder `out`.

    Writes scores.jsonl (every value per request) and returns {"methods": {name: ...}, "differences": [...], "notes": [...]}.
    Likelihoods are None for a method whose file lacks some. Raises KeyError when a prediction is missing.
    """
    written = {(entry["method"], entry["id"]): entry for entry in files.read_lines(out / files.PREDICTIONS)}
    weighed = {(entry["method"], entry["id"]): entry for entry in files.read_lines(out / files.NLL)}
    summaries, each, notes = {}, {}, {}
    for number, name in enumerate(methods):
        done, total = number * len(ids), len(methods) * len(ids)
        on_progress({"phase": "score", "method": name, "done_requests": done, "total_requests": total})
        entries = [written[name, key] for key in ids]
        texts, references = [entry["prediction"] for entry in entries], [entry["reference"] for entry in entries]
        scores = {metric: compute(texts, references) for metric, compute in METRICS.items()}
        likelihoods = [weighed[name, key] for key in ids] if all((name, key) in weighed for key in ids) else None
        summaries[name] = _summary(entries, scores, likelihoods)
        each[name] = {"nll": likelihoods, **{metric: score.each for metric, score in scores.items()}}
        notes |= dict.fromkeys(score.note for score in scores.values() if score.note)
    files.write_lines(out / files.SCORES, _lines(ids, each))
    users = [written[methods[0], key]["user_id"] for key in ids]
    return {"methods": summaries, "differences": _differences(methods, each, users), "notes": list(notes)}


def _summary(entries: list[dict], scores: dict[str, Score], likelihoods: list[dict] | None) -> dict:
    return {
        "metrics": {name: {"value": score.value, "signature": score.signature} for name, score in scores.items()},
        "nll": _nll(likelihoods) if likelihoods else None,
        "empty": sum(is_empty(entry["prediction"]) for entry in entries),
        "stopped_by_length": sum(entry["finish"] == "length" for entry in entries),
        "mean_prompt_tokens": fmean(entry["prompt_tokens"] for entry in entries),
        "mean_generated_tokens": fmean(entry["generated_tokens"] for entry in entries),
        "mean_words": fmean(len(entry["prediction"].split()) for entry in entries),
        "mean_reference_words": fmean(len(entry["reference"].split()) for entry in entries),
        "mean_shown_reviews": fmean(len(entry["shown"]) for entry in entries),
        "profiles": _profiles([entry["profile"] for entry in entries if "profile" in entry]),
    }


def _profiles(found: list[dict]) -> dict | None:
    """What the profiles in the prompts took on average, whenever they were made, and what failed on the way, added up."""
    if not found:
        return None
    failures: Counter = Counter()
    for profile in found:
        failures.update(profile["failures"])
    return {
        **{f"mean_{what}": fmean(profile[what] for profile in found) for what in _COSTS},
        **{what: sum(profile[what] for profile in found) for what in ("empty", "dropped", "commanding")},
        "failures": dict(sorted(failures.items())),
    }


def _nll(likelihoods: list[dict]) -> dict:
    """In nats: `per_token` weighs every token alike, `per_request` every review."""
    tokens = sum(entry["tokens"] for entry in likelihoods)
    return {
        "per_token": sum(entry["nats"] for entry in likelihoods) / tokens,
        "per_request": fmean(entry["nats"] / entry["tokens"] for entry in likelihoods),
        "tokens": tokens,
        "cut": sum(entry["cut"] for entry in likelihoods),
    }


def _differences(methods: Sequence[str], each: dict[str, dict], users: Sequence[str]) -> list[dict]:
    """Method minus `against`, over the same requests of these users, for each pair of methods: NLL per token and METEOR."""
    found = []
    for metric in COMPARED:
        for against, method in combinations(methods, 2):
            a, b = each[method][metric], each[against][metric]
            if a is None or b is None:
                continue
            values = _paired_nll(a, b) if metric == "nll" else (a, b)
            interval = paired_bootstrap(*values, groups=users, seed=_BOOTSTRAP_SEED)
            found.append({"metric": metric, "method": method, "against": against, **asdict(interval), "clear": interval.clear})
    return found


def _paired_nll(a: list[dict], b: list[dict]) -> tuple[list[float], list[float], list[int]]:
    """Values per token and their weights. Both methods must have answered for the same tokens."""
    tokens = [entry["tokens"] for entry in a]
    if tokens != [entry["tokens"] for entry in b]:
        raise ValueError("likelihoods of two methods cover different tokens of the same reviews")
    return [entry["nats"] / entry["tokens"] for entry in a], [entry["nats"] / entry["tokens"] for entry in b], tokens


def _lines(ids: Sequence[str], each: dict[str, dict]):
    for name, values in each.items():
        for i, key in enumerate(ids):
            likelihood = values["nll"][i]["nats"] / values["nll"][i]["tokens"] if values["nll"] else None
            per_metric = {metric: column[i] for metric, column in values.items() if metric != "nll" and column is not None}
            yield {"id": key, "method": name, "nll_per_token": likelihood, **per_metric}
