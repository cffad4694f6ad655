"""From the files of an evaluation to numbers: nothing here generates, and running it again gives the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from depcli.evaluation import predictions as files
from depcli.evaluation.clock import Clock
from depcli.evaluation.measures import ALIGNMENT, BERTSCORE, JUDGE, judge
from depcli.evaluation.measures.alignment import chance
from depcli.evaluation.measures.metrics import COUNTED, METRICS, Score
from depcli.evaluation.statistics.comparing import compare, description
from depcli.evaluation.statistics.corpus import Counts
from depcli.evaluation.statistics.groups import compare_groups
from depcli.evaluation.statistics.significance import drawn
from depcli.evaluation.statistics.values import Values
from depcli.evaluation.studies import Comparison
from depcli.evaluation.summary import (
    likelihood_summary,
    metric_summary,
    others_summary,
    real_summary,
    swap_summary,
    text_summary,
)
from depcli.system import resumable

Scores = dict[str, Score]  # by metric
_NOT_VALUES = ("id", "method", "seed", "user_id", "asin", "real", "nats", "tokens")  # the other fields are metrics


def score_files(
    out: Path,
    methods: Sequence[str],
    ids: Mapping[int, Sequence[str]],
    *,
    alignment: str | None = None,
    judged: tuple[str, str] | None = None,
    variants: Mapping[str, Sequence[str]] | None = None,
    comparison: Comparison | None = None,
    clock: Clock | None = None,
    check: Callable[[], None] = lambda: None,
    on_progress: Callable[[dict], None] = lambda event: None,
) -> dict:
    """Score the predictions of `methods` in the folder `out`. `ids` are those of the requests by sampling seed: for each the same
    targets in the same order; what does not depend on a seed has the ids of the first. `alignment` is the signature of difference
    alignment, None where it was not computed; `judged` are the judge's identity and signature, None without one; `variants` says
    what was swapped in the swap test, by method; `comparison` what is tested, by default every method against each other one.

    Writes scores.jsonl (every value per request, of BLEU its counts), before which `check` may raise, and returns the parts of
    results.json that are computed, see results.py. Likelihoods are None for a method whose file lacks some. Raises KeyError when
    a prediction is missing.
    """
    comparison, clock = comparison or Comparison(), clock or Clock()
    written = _by_key(out / files.PREDICTIONS)
    aligned = files.about(written.values(), files.read(out / files.ALIGNMENT))
    weighed, swaps = _by_key(out / files.NLL), _by_key(out / files.SWAP, "variant")
    targets = next(iter(ids.values()))
    users = [written[methods[0], key]["user_id"] for key in targets]
    units = drawn(users)
    references = [written[methods[0], key]["reference"] for key in targets]
    real = dict(zip(targets, references, strict=True))
    verdicts = _verdicts(out, judged[0], written.values(), real) if judged else {}
    summaries, systems, lines, notes = {}, {}, [], {}
    every = {(name, seed): [written[name, key] for key in keys] for name in methods for seed, keys in ids.items()}
    with clock.part("metrics"):
        on_progress({"phase": "score", "method": methods[0], "done_requests": 0, "total_requests": len(methods)})
        together = _scored_together(every)
    for number, name in enumerate(methods):
        on_progress({"phase": "score", "method": name, "done_requests": number, "total_requests": len(methods)})
        runs = {seed: every[name, seed] for seed in ids}
        with clock.part("metrics"):
            scores = {seed: _scores(entries, together[name, seed]) for seed, entries in runs.items()}
        for seed, keys in ids.items() if alignment else ():
            scores[seed][ALIGNMENT] = _alignment([aligned[name, key]["cosine"] for key in keys], alignment)
        for seed, keys in ids.items() if judged else ():
            scores[seed][JUDGE] = judge.score([verdicts[name, key]["score"] for key in keys], judged[1])
        own = [weighed[name, key] for key in targets] if all((name, key) in weighed for key in targets) else None
        rows = _lines(name, ids, runs, scores, own)
        lines += chain.from_iterable(rows)
        systems[name] = values_of(rows)
        summaries[name] = {
            "metrics": {
                metric: metric_summary([one[metric] for one in scores.values()], systems[name].get(metric), units)
                for metric in next(iter(scores.values()))
            },
            "nll": likelihood_summary(own, units) if own else None,
            "swap": {
                variant: swap_summary(own, [swaps.get((name, variant, key)) for key in targets], units)
                for variant in (variants or {}).get(name, ())
            }
            if own
            else {},
            **text_summary([entry for entries in runs.values() for entry in entries]),
        }
        notes |= dict.fromkeys(score.note for each in scores.values() for score in each.values() if score.note)
    check()
    resumable.write_lines(out / files.SCORES, lines)
    pairs = list(combinations(methods, 2)) if comparison.pairs is None else comparison.pairs
    with clock.part("tests"):
        differences = compare(systems, units, pairs)
        groups = compare_groups(systems, users, pairs, comparison.groups) if comparison.groups else None
    peers = [aligned[methods[0], key]["peers"] for key in targets] if alignment else []
    peers = [count for count in peers if count is not None]
    others, said = _about_verdicts(verdicts, ids, systems, units) if judged else (None, [])
    return {
        "methods": summaries,
        "real": {
            **real_summary(references),
            "alignment_chance": chance(peers) if peers else None,
            "judge_others": others,
        },
        "differences": differences,
        "tests": description(differences),
        "groups": groups,
        "study": comparison.study,
        "notes": [*notes, *said],
    }


def _about_verdicts(
    verdicts: Mapping[tuple[str, str], dict], ids: Mapping[int, Sequence[str]], systems: Mapping[str, Mapping], units: Sequence
) -> tuple[dict | None, list[str]]:
    """How the methods stand beside what others wrote, and what is to be known of the verdicts."""
    targets, asked = next(iter(ids.values())), [key for keys in ids.values() for key in keys]
    found = {name: [verdicts[name, key] for key in asked] for name in systems}
    found[judge.OTHERS] = [verdicts[judge.OTHERS, key] for key in targets if (judge.OTHERS, key) in verdicts]
    scores = {line["id"]: line["score"] for line in found[judge.OTHERS]}
    others = Values(np.array([scores.get(key) for key in targets], np.float64))  # None becomes NaN
    return others_summary(others, {name: one[JUDGE] for name, one in systems.items() if JUDGE in one}, units), judge.note(found)


def values_of(rows: Sequence[Sequence[dict]]) -> dict[str, Values | Counts]:
    """What can be tested of one method, by metric, from its lines of scores.jsonl: `rows` are those of each sampling seed, for
    the same targets in the same order. First the likelihood; then values or counts."""
    found, (first, *_) = {}, rows
    if all(line["tokens"] for line in first):
        tokens = np.array([line["tokens"] for line in first], np.float64)
        found["nll"] = Values(np.array([line["nats"] for line in first]) / tokens, tokens)
    for metric in first[0]:
        if metric not in _NOT_VALUES and all(metric in row[0] for row in rows):
            each = np.array([[line[metric] for line in row] for row in rows], np.float64)  # None becomes NaN
            found[metric] = Counts(each, COUNTED[metric]) if metric in COUNTED else Values(each)
    return found


def _by_key(path: Path, *more: str) -> dict[tuple, dict]:
    """The lines of a file by method, `more` fields and id."""
    return {(entry["method"], *(entry[field] for field in more), entry["id"]): entry for entry in files.read(path)}


def _verdicts(out: Path, by: str, written: Iterable[dict], real: Mapping[str, str]) -> dict[tuple[str, str], dict]:
    """What one judge said of these texts by method and id, and of what others wrote, which is found by the `real` reviews (see
    judge.found_by); another judge's verdicts stay in the file."""
    others = ({"method": judge.OTHERS, "id": key, "prediction": text} for key, text in real.items())
    return files.about([*written, *others], (line for line in files.read(out / files.JUDGE) if line["judge"] == by))


def _scores(entries: list[dict], known: Scores) -> Scores:
    texts, references = [entry["prediction"] for entry in entries], [entry["reference"] for entry in entries]
    return {metric: known[metric] if metric in known else compute(texts, references) for metric, compute in METRICS.items()}


def _scored_together(every: Mapping[tuple, Sequence[dict]]) -> dict[tuple, Scores]:
    """BERTScore of all runs at once, so that each real review goes through the encoder once."""
    entries = [entry for run in every.values() for entry in run]
    whole = METRICS[BERTSCORE]([entry["prediction"] for entry in entries], [entry["reference"] for entry in entries])
    found, start = {}, 0
    for name, run in every.items():
        each = whole.each and whole.each[start : start + len(run)]
        found[name] = {BERTSCORE: replace(whole, value=sum(each) / len(each) if each else None, each=each)}
        start += len(run)
    return found


def _alignment(cosines: Sequence[float | None], signature: str) -> Score:
    defined = [value for value in cosines if value is not None]
    if not defined:
        return Score(None, signature, note="difference alignment is undefined: no item has enough other reviewers")
    return Score(sum(defined) / len(defined), signature, tuple(cosines))


def _lines(
    name: str,
    ids: Mapping[int, Sequence[str]],
    runs: Mapping[int, Sequence[dict]],
    scores: Mapping[int, Scores],
    likelihoods: Sequence[dict] | None,
) -> list[list[dict]]:
    """What scores.jsonl has of one method, the lines of each seed apart."""
    weighed = likelihoods or [{"nats": None, "tokens": None}] * len(next(iter(ids.values())))
    return [
        [
            {
                "id": key,
                "method": name,
                "seed": seed,
                "user_id": entry["user_id"],
                "asin": entry["asin"],
                "real": files.digest(entry["reference"]),
                "nats": weighed[i]["nats"],
                "tokens": weighed[i]["tokens"],
                **{
                    metric: (score.each or score.counts)[i]
                    for metric, score in scores[seed].items()
                    if score.each or score.counts
                },
            }
            for i, (key, entry) in enumerate(zip(keys, runs[seed], strict=True))
        ]
        for seed, keys in ids.items()
    ]
