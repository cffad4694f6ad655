"""What results.json says of one method, from its values per request. `users` say whose each is, as in significance.drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from math import sqrt
from statistics import fmean, stdev

import numpy as np

from depcli.evaluation.measures.metrics import METRICS, Score, is_empty
from depcli.evaluation.statistics.comparing import SEED
from depcli.evaluation.statistics.corpus import Counts, corpus_error
from depcli.evaluation.statistics.significance import paired_bootstrap, standard_error
from depcli.evaluation.statistics.values import Values
from depcli.thought import THINKING

_COSTS = ("calls", "prompt_tokens", "generated_tokens")
_OF_TEXTS = ("distinct1", "distinct2")


def metric_summary(scores: Sequence[Score], tested: Values | Counts | None, users: Sequence[Hashable]) -> dict:
    """One metric over the seeds (`scores`, one each): its mean (of the texts that have a value), and two standard errors of
    different things. `se_seeds` is how far other sampling seeds would move the mean for the same targets (None for one seed);
    `se_users` how far other users would, with the texts of all seeds (None for a metric of the corpus without counts). `tested`
    is what scoring.values_of has of it."""
    values = [score.value for score in scores]
    known, error, undefined = None not in values, None, 0
    value = fmean(values) if known else None
    if isinstance(tested, Counts):
        error = corpus_error(tested, users)
    elif tested:
        error, undefined = tested.error(users), int((tested.weighing == 0).sum())
        if not np.isfinite(tested.runs).all():
            value = tested.value()
    return {
        "value": value,
        "per_seed": values,
        "se_seeds": stdev(values) / sqrt(len(values)) if known and len(values) > 1 else None,
        "se_users": error,
        "undefined": undefined,
        "signature": scores[0].signature,
    }


def likelihood_summary(likelihoods: Sequence[dict], users: Sequence[Hashable]) -> dict:
    """In nats: `per_token` weighs every token alike, `per_request` every review. `se_users` is that of `per_token`; seeds have
    no part in it."""
    tokens = np.array([entry["tokens"] for entry in likelihoods], np.float64)
    each = np.array([entry["nats"] for entry in likelihoods]) / tokens
    return {
        "per_token": sum(entry["nats"] for entry in likelihoods) / int(tokens.sum()),
        "per_request": fmean(each.tolist()),
        "se_users": standard_error(each, tokens, users),
        "tokens": int(tokens.sum()),
        "cut": sum(entry["cut"] for entry in likelihoods),
    }


def swap_summary(own: Sequence[dict], swapped: Sequence[dict | None], users: Sequence[Hashable]) -> dict | None:
    """NLL per token with what is the user's own minus that with a stranger's in its place, over the targets that have a stranger
    (None in `swapped` otherwise): below 0 where the method knows the person. None when no target has one."""
    pairs = [(a, b, user) for a, b, user in zip(own, swapped, users, strict=True) if b is not None]
    if not pairs:
        return None
    a, b = ([entry["nats"] / entry["tokens"] for entry in column] for column in list(zip(*pairs, strict=True))[:2])
    tokens, whose = [entry["tokens"] for entry, _, _ in pairs], [user for _, _, user in pairs]
    interval = paired_bootstrap(a, b, tokens, whose, seed=SEED)
    return {
        "own": float(np.average(a, weights=tokens)),
        "stranger": float(np.average(b, weights=tokens)),
        **asdict(interval),
        "clear": interval.clear,
    }


def others_summary(verdicts: Values, systems: Mapping[str, Values], users: Sequence[Hashable]) -> dict | None:
    """The judge's mean verdict on what others wrote, on how many targets it is, and by method how much more the method's
    texts have where both have one: an interval. None without any."""
    if (mean := verdicts.value()) is None:
        return None
    more = {}
    for name, own in systems.items():
        ours, theirs, weights = own.beside(verdicts)
        there = np.flatnonzero(weights)
        if len(there):
            whose = [users[i] for i in there]
            more[name] = asdict(paired_bootstrap(ours[there], theirs[there], weights[there], whose, seed=SEED))
    return {"value": mean, "targets": int(np.isfinite(verdicts.each).sum()), "more": more}


def text_summary(entries: Sequence[dict]) -> dict:
    """Counts and means of the texts themselves, over the requests of all seeds."""
    return {
        "empty": sum(is_empty(entry["prediction"]) for entry in entries),
        "stopped_by_length": sum(entry["finish"] == "length" for entry in entries),
        "unfinished_thoughts": sum(entry["finish"] == THINKING for entry in entries),
        "mean_prompt_tokens": fmean(entry["prompt_tokens"] for entry in entries),
        "mean_generated_tokens": fmean(entry["generated_tokens"] for entry in entries),
        "mean_words": fmean(len(entry["prediction"].split()) for entry in entries),
        "mean_shown_reviews": fmean(len(entry["shown"]) for entry in entries),
        "profiles": _profiles([entry["profile"] for entry in entries if "profile" in entry]),
    }


def real_summary(references: Sequence[str]) -> dict:
    """The same of the real reviews, to compare with."""
    distinct = {metric: METRICS[metric](references, references).value for metric in _OF_TEXTS}
    return {"mean_words": fmean(len(text.split()) for text in references), **distinct}


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
