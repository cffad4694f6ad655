"""The proof that nothing that is tested was known before: each check raises ValueError, loudly, naming a review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from depcli.adapters import seen
from depcli.records import Profile, Prompt, stable_order
from depcli.splits.split import ROLES, Split, Target

CHECKED = 8  # prompts of a method whose differences are worth computing again
_REVIEWERS = 200  # of an item; more would take long
_TOLERANCE = 1e-4  # of a coordinate: sums are float64, differences float32


def check_leakage(split: Split) -> None:
    """A review with two roles or twice a target; one to be validated on or tested that is not held out; one that is learned
    although it is held out, by a user who shall be unseen, or too late.

    What each prompt shows is checked where it is built, by `check_shown`.
    """
    keys = Counter(target.key for role in ROLES for target in getattr(split, role))
    training = {target.key for target in split.train}
    tested = (*split.validation, *split.test)
    found = {
        "targets more than once": [key for key, times in keys.items() if times > 1],
        "to be tested but not held out": {target.key for target in tested} - split.held_out,
        "held out but were learned": split.held_out & training,
        "by users who shall be unseen, but were learned": [key for key in training if key[0] in split.unseen],
        "learned, but not known to be from before the test": [target.key for target in split.train if _too_late(target, split)],
    }
    for what, keys in found.items():
        if keys:
            user, asin = min(keys)
            raise ValueError(f"{len(keys)} reviews are {what}, such as the one of {asin!r} by {user!r}")


def check_adapters(split: Split, configs: Mapping[str, dict]) -> None:
    """An adapter (configurations by name) that has seen a user who shall be unseen in the test, whatever split it names."""
    tested = {target.user_id for target in split.test} & split.unseen
    for name, config in configs.items():
        if tested and seen.has_seen(config, tested):
            raise ValueError(f"adapter {name!r} was trained on users who shall be unseen in {split.name}")


def check_shown(target: Target, prompt: Prompt) -> None:
    """A prompt that shows its target, another user's review, or one that was not written before the target; or whose profile is
    about the target's item."""
    for review in (*(past.review for past in prompt.shown), *prompt.pooled):
        where = f"the prompt for {target.asin!r} by {target.user_id!r} shows"
        if review.user_id != target.user_id:
            raise ValueError(f"{where} a review of another user, {review.user_id!r}")
        if review.asin == target.asin:
            raise ValueError(f"{where} the target itself")
        if stable_order(review) >= target.order:
            raise ValueError(f"{where} {review.asin!r}, which was not written before it")
    if prompt.profile and target.asin in _items_of(prompt.profile):
        raise ValueError(f"the profile in the prompt for {target.asin!r} by {target.user_id!r} is about that item")


def check_differences(
    prompts: Iterable[Prompt], snapshot, held_out: Collection[tuple[str, str]], *, weighted: bool = False
) -> None:
    """A difference or a number of peers that is not what the reviews themselves give without the `held_out` ones: a sum that
    holds too much. Computes those of the `prompts` again from the reviewers' vectors; `weighted` ones are only counted. Items
    with many reviewers are passed over."""
    pasts = [past for prompt in prompts for past in prompt.shown]
    sums = snapshot.sums(sorted({past.review.asin for past in pasts}))
    reviewers = snapshot.reviewers([asin for asin, item in sums.items() if item.reviews <= _REVIEWERS])
    for past in pasts:
        asin, user = past.review.asin, past.review.user_id
        if asin not in reviewers:
            continue
        others = [
            entry.vector
            for entry in reviewers[asin]
            if entry.review.user_id != user and (entry.review.user_id, asin) not in held_out
        ]
        if past.peers != len(others):
            raise ValueError(f"{past.peers} peers of {user!r} count for {asin!r}; {len(others)} may")
        if past.diff is None or weighted:
            continue
        expected = past.his.astype(np.float64) - np.mean(others, axis=0, dtype=np.float64)
        if np.abs(past.diff - expected).max() > _TOLERANCE:
            raise ValueError(f"the difference of {user!r} from the peers on {asin!r} is not that from reviews that may count")


def _too_late(target: Target, split: Split) -> bool:
    return split.since is not None and (target.timestamp is None or target.timestamp >= split.since)


def _items_of(profile: Profile) -> set[str]:
    found = [*profile.differences, *(one for dimension in profile.dimensions for one in dimension.differences)]
    return {difference.asin for difference in found}
