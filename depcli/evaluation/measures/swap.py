"""The swap test: how much worse is the real review foreseen when the prompt tells of another person?

The item, the rating, the title and the task stay; the past reviews, the soft tokens, or both become those of a stranger. What a
method gains over that is what it knows about this person, and not about reviews or the item.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from depcli.evaluation.measures.likelihood import EngineScorer, WeightsScorer
from depcli.methods.base import Method
from depcli.personal.choices import Choices
from depcli.personal.template import Template
from depcli.records import Item, PastReview, Prompt, Request, Review
from depcli.splits.split import Target, by_hash

HISTORY, TEXT, VECTORS = "history", "text", "vectors"  # what is the stranger's: all of it, the text alone, the soft tokens alone
_DRAWS = 32
Swap = tuple[str, str, Target, Request, str, Target]  # id, variant, target, its request, the real review, the stranger's target


def variants(method: Method, choices: Choices, template: Template) -> tuple[str, ...]:
    """What can be swapped in a method's prompt; nothing where none of it is about the user. Text and soft tokens are told apart
    only where both are about the user: not in a profile, nor in soft tokens that are the same for everyone."""
    text = (method.history and template.shows_reviews(choices.review_text)) or method.profile is not None
    probe = PastReview(Review("", "", ""), Item(""), np.ones(1, np.float32), np.ones(1, np.float32), 1)
    slots = [slot for group in (method.slots([probe]) if method.slots else ()) for slot in group if choices.wants(slot.kind)]
    vectors = method.before is not None or any(slot.embedding is not None for slot in slots)
    if text and vectors:
        return HISTORY, TEXT, VECTORS
    return (HISTORY,) if text or vectors else ()


def strangers(
    reviews: Mapping[str, Sequence[Target]], targets: Sequence[Target], candidates: Sequence[Target], shown: int
) -> dict[tuple[str, str], Target]:
    """By target key the target of another user who never reviewed the item, and before it had written at least as many reviews
    as this user before this one, or as many as are `shown` in a prompt or pooled for it. Each of these is as likely as the
    others, drawn by the target alone; absent where there is none. `candidates` are all targets of the role,
    `reviews` is what split.by_user gives."""
    pool = sorted({target.user_id: target for target in candidates}.values(), key=lambda target: target.user_id)

    @cache
    def before(target: Target) -> int:
        return sum(one.order < target.order and one.asin != target.asin for one in reviews[target.user_id])

    def fits(other: Target, target: Target) -> bool:
        enough = before(other) >= min(before(target), shown)
        return enough and other.user_id != target.user_id and all(one.asin != target.asin for one in reviews[other.user_id])

    found = {}
    for target in targets:
        rng = random.Random(by_hash(target))
        drawn = (rng.choice(pool) for _ in range(_DRAWS))  # most fit; else all are looked at
        other = next((other for other in drawn if fits(other, target)), None)
        fitting = [] if other else [other for other in pool if fits(other, target)]
        if other or fitting:
            found[target.key] = other or rng.choice(fitting)
    return found


def mixed(writer, todo: Sequence[Swap]) -> Iterator[Prompt]:
    """The prompt of each, in which that much is the stranger's."""
    asked = []
    for _, variant, _, request, _, other in todo:
        foreign = replace(request, user_id=other.user_id, before=_request(other).before)
        asked.append((request, request if variant == VECTORS else foreign, request if variant == TEXT else foreign))
    return writer.builder.build_mixed(asked)


def swapped(name: str, writer, todo: Sequence[Swap], scorer: EngineScorer | WeightsScorer) -> Iterator[dict]:
    """A line for each, in order: the likelihood of the real review after the mixed prompt. Strangers are named by the hash of
    their target."""
    prompts = mixed(writer, todo)
    pairs = ((writer.soft(prompt), reference) for prompt, (*_, reference, _) in zip(prompts, todo, strict=True))
    for (key, variant, *_, other), found in zip(todo, scorer.likelihoods(pairs), strict=True):
        yield {
            "id": key,
            "method": name,
            "variant": variant,
            "stranger": named(other),
            "nats": found.nats,
            "tokens": found.tokens,
        }


def named(stranger: Target) -> str:
    """What stands for a stranger's target in the files of an evaluation."""
    return by_hash(stranger).hex()[:16]


def _request(target: Target) -> Request:
    return Request(target.user_id, Item(target.asin), before=target.order)
