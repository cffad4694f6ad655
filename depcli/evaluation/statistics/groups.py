"""Methods in two groups of users, and whether what one gains over the other differs between the groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from depcli.evaluation.statistics.comparing import SEED, compare
from depcli.evaluation.statistics.corpus import Counts
from depcli.evaluation.statistics.significance import ALPHA, holm, sums_by
from depcli.evaluation.statistics.values import Values

SHUFFLES = 10_000
_AT_ONCE = 500


def compare_groups(
    systems: Mapping[str, Mapping[str, Values | Counts]],
    users: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    groups: Mapping[str, Collection[str]],
) -> dict:
    """Of metrics with a value per target; `groups` are two names with the users in each; `users` (n,) says whose each target is.

    {"parts": [{"name", "targets", "users", "methods": {method: {metric: {"value", "se_users"}}}, "differences": as of
    comparing.compare}], "between": [{"metric", "method", "against", "difference", "p", "p_holm", "significant"}]}: in `between`
    the difference is what method gains over against in the first group, minus the same in the second, as the differences in
    `parts` have it; p is of a permutation test that shuffles the users between the groups.
    """
    systems = {
        method: {metric: one for metric, one in found.items() if isinstance(one, Values)} for method, found in systems.items()
    }
    parts = []
    for name, members in groups.items():
        places = [i for i, user in enumerate(users) if user in members]
        whose = [users[i] for i in places]
        part = {method: {metric: one.at(places) for metric, one in found.items()} for method, found in systems.items()}
        parts.append(
            {
                "name": name,
                "targets": len(places),
                "users": len(set(whose)),
                "methods": {
                    method: {metric: {"value": one.value(), "se_users": one.error(whose)} for metric, one in found.items()}
                    for method, found in part.items()
                },
                "differences": compare(part, whose, pairs) if places else [],
            }
        )
    return {"parts": parts, "between": _between(systems, users, pairs, next(iter(groups.values())))}


def _between(
    systems: Mapping[str, Mapping[str, Values]], users: Sequence[str], pairs: Sequence[tuple[str, str]], first: Collection[str]
) -> list[dict]:
    in_first = np.array([name in first for name in dict.fromkeys(users)])
    found, gains, weights = [], [], []
    for metric in dict.fromkeys(metric for values in systems.values() for metric in values):
        for against, method in pairs:
            if metric in systems[against] and metric in systems[method]:
                found.append({"metric": metric, "method": method, "against": against})
                gain, weight = _by_user(systems[method][metric], systems[against][metric], users)
                gains.append(gain)
                weights.append(weight)
    if not found or in_first.all() or not in_first.any():
        return []
    gains, weights = np.stack(gains, axis=1), np.stack(weights, axis=1)
    observed = _gap(gains, weights, in_first[None])[0]
    at_least, rng = np.ones(len(found)), np.random.default_rng(SEED)
    for _ in range(SHUFFLES // _AT_ONCE):
        labels = rng.permuted(np.tile(in_first, (_AT_ONCE, 1)), axis=1)
        at_least += (np.abs(_gap(gains, weights, labels)) >= np.abs(observed) - 1e-12).sum(axis=0)
    chances = at_least / (SHUFFLES + 1)
    return [
        {**entry, "difference": gap, "p": p, "p_holm": corrected, "significant": corrected <= ALPHA}
        for entry, gap, p, corrected in zip(found, observed.tolist(), chances.tolist(), holm(chances).tolist(), strict=True)
    ]


def _by_user(ours: Values, theirs: Values, users: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What each user adds to the weighted sum of differences, and to that of the weights, (users,) each."""
    a, b, weights = ours.beside(theirs)
    return sums_by(users, weights * np.where(weights > 0, a - b, 0.0)), sums_by(users, weights)


def _gap(gains: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of the first group minus that of the second, (shuffles, m), from sums (users, m) and boolean (shuffles, users)."""
    first = labels.astype(np.float64)
    sums, counts = first @ gains, first @ weights
    others, missing = gains.sum(axis=0) - sums, weights.sum(axis=0) - counts
    return np.divide(sums, counts, where=counts > 0, out=np.zeros_like(sums)) - np.divide(
        others, missing, where=missing > 0, out=np.zeros_like(sums)
    )
