"""Methods against each other: for each pair and metric the difference, its interval, and whether it stands among so many."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from depcli.evaluation.statistics.corpus import Counts, corpus_bootstrap, corpus_flips
from depcli.evaluation.statistics.significance import (
    ALPHA,
    FLIPS,
    RESAMPLES,
    Interval,
    holm,
    paired_bootstrap,
    sign_flips,
    sums_by,
)
from depcli.evaluation.statistics.values import Values

SEED = 0
_ROUNDING = 1e-6  # relative: what the neighbours in a batch change of a likelihood in float32, which is nobody's difference
LOWER_IS_BETTER = frozenset({"nll"})


def compare(
    systems: Mapping[str, Mapping[str, Values | Counts]], users: Sequence[Hashable], pairs: Sequence[tuple[str, str]]
) -> list[dict]:
    """Of each (against, method) in `pairs` and each metric that both have, method minus against, on the targets and at the seeds
    where both have a value; `users` (n,) says whose each target is, as in significance.drawn. JSON-ready: the fields of
    significance.Interval, `p` of the permutation test, `p_holm` corrected over everything in this list, `significant`, and
    `better`: the method that is, or None.

    Raises ValueError when two methods' weights differ: they would not have been measured on the same tokens.
    """
    order = {user: place for place, user in enumerate(dict.fromkeys(users))}
    found, sums = [], {}  # by the place in `found` what each user adds to the difference of a mean
    for metric in dict.fromkeys(name for metrics in systems.values() for name in metrics):
        for against, method in pairs:
            if metric not in systems[against] or metric not in systems[method]:
                continue
            a, b = systems[method][metric], systems[against][metric]
            entry = {"metric": metric, "method": method, "against": against}
            if isinstance(a, Counts):
                interval = corpus_bootstrap(a, b, users, seed=SEED)
                found.append({**_told(entry, interval), "p": corpus_flips(a, b, users, seed=SEED)})
                continue
            _check_weights(a, b)
            ours, theirs, weights = a.beside(b)
            defined = np.flatnonzero(weights)
            if not len(defined):
                continue
            whose, weights = [users[i] for i in defined], weights[defined]
            ours, theirs = ours[defined], theirs[defined]
            theirs = np.where(np.isclose(ours, theirs, rtol=_ROUNDING, atol=0), ours, theirs)
            column = sums[len(found)] = np.zeros(len(order))
            column[[order[user] for user in dict.fromkeys(whose)]] = sums_by(whose, weights * (ours - theirs))
            found.append(_told(entry, paired_bootstrap(ours, theirs, weights, whose, seed=SEED)))
    if sums:
        chances = sign_flips(np.stack(list(sums.values()), axis=1), seed=SEED)
        for place, p in zip(sums, chances.tolist(), strict=True):
            found[place]["p"] = p
    for entry, corrected in zip(found, holm([entry["p"] for entry in found]).tolist(), strict=True):
        entry |= {"p_holm": corrected, "significant": corrected <= ALPHA, "better": _better(entry, corrected <= ALPHA)}
    return found


def _told(entry: dict, interval: Interval) -> dict:
    return {**entry, **asdict(interval), "clear": interval.clear}


def description(tests: Sequence[dict]) -> dict:
    """What `compare` did, for the record."""
    return {
        "interval": "percentile bootstrap over users, of one user alone over reviews, paired",
        "resamples": RESAMPLES,
        "test": "sign flips of the differences of what is drawn (BLEU: its texts change places), two-sided, paired",
        "flips": FLIPS,
        "seed": SEED,
        "correction": "Holm",
        "corrected_for": len(tests),
        "alpha": ALPHA,
    }


def _check_weights(a: Values, b: Values) -> None:
    if (a.weights is None) != (b.weights is None) or not (a.weights is None or np.array_equal(a.weights, b.weights)):
        raise ValueError("likelihoods of two methods cover different tokens of the same reviews")


def _better(entry: dict, significant: bool) -> str | None:
    if not significant:
        return None
    lower = entry["metric"] in LOWER_IS_BETTER
    return entry["method"] if (entry["difference"] < 0) == lower else entry["against"]
