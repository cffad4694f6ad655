"""Does `mini` listen to a user's history? python -m depcli.recipes.probe DATA WEIGHTS [--users N]

On users that pre-training never saw: the loss on their real reviews without history, with the up to eight reviews that they
wrote before, and with as many of a stranger's. Figures go to stderr for people and to stdout as JSON.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from depcli.backbones import chat_of, find, load_model, load_tokenizer
from depcli.backbones.sequence import Encoded, encode, target_losses
from depcli.chat import Chat
from depcli.personal.template import Template
from depcli.recipes import corpus as corpora
from depcli.records import Item, PastReview, Request

TARGETS = 10
CONDITIONS = ("none", "own", "stranger")
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Case:
    """One real review, and what stands before it under each condition: no reviews, the user's own, a stranger's."""

    target: PastReview
    own: tuple[PastReview, ...]
    stranger: tuple[PastReview, ...]

    def history(self, condition: str) -> tuple[PastReview, ...]:
        return () if condition == "none" else getattr(self, condition)


def cases(data: Path, users: int, seed: int) -> list[Case]:
    """The last ten reviews (those with an earlier one) of held-out users with at least two; `users` 0 takes all users.

    A stranger is another held-out user with enough reviews; those of the target's item are left out.
    """
    items = {
        row["asin"]: Item(row["asin"], row["title"] or "", row["description"] or "")
        for row in corpora.read(data / "rotten_tomatoes/items.jsonl.gz")
    }
    by_user = {
        user: [corpora.past(row, items.get(row["asin"]) or Item(row["asin"])) for row in mine]
        for user, mine in corpora.in_order(corpora.read(data / "rotten_tomatoes/reviews.jsonl.gz")).items()
        if corpora.unseen(user) and len(mine) > 1
    }
    rng = random.Random(seed)
    names = sorted(by_user)
    found = []
    for user in sorted(rng.sample(names, users)) if 0 < users < len(names) else names:
        mine = by_user[user]
        for at in range(max(1, len(mine) - TARGETS), len(mine)):
            own = mine[max(0, at - corpora.MAX_HISTORY) : at]
            found.append(Case(mine[at], tuple(own), _strangers(mine[at], len(own), by_user, names, rng)))
    return found


def _strangers(target: PastReview, count: int, by_user: dict, names: list[str], rng: random.Random) -> tuple[PastReview, ...]:
    while True:
        other = rng.choice(names)
        theirs = [entry for entry in by_user[other] if entry.item.asin != target.item.asin]
        if other != target.review.user_id and len(theirs) >= count:
            start = rng.randint(0, len(theirs) - count)
            return tuple(theirs[start : start + count])


def lay_out(case: Case, condition: str, template: Template, chat: Chat, tokenizer, max_tokens: int) -> Encoded:
    """The prompt and the real review. Oldest entries go first when the prompt is longer than `max_tokens`."""
    review = case.target.review
    request = Request(review.user_id, case.target.item, review.rating, review.title or None)
    history = case.history(condition)
    while True:
        encoded = encode(template.parts(chat, request, history), tokenizer, chat.clean(review.text))
        if len(encoded.ids) - encoded.targets <= max_tokens or not history:
            return encoded
        history = history[1:]


def batches(sequences: Sequence[Encoded]) -> Iterator[list[int]]:
    """Indices in batches of like lengths, at most BATCH_TOKENS positions each with padding."""
    batch: list[int] = []
    for i in np.argsort([len(entry.ids) for entry in sequences], kind="stable"):
        if batch and len(sequences[i].ids) * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(int(i))
    if batch:
        yield batch


def losses(model, sequences: Sequence[Encoded]) -> np.ndarray:
    """Sum of the target tokens' losses, in nats, per sequence."""
    import torch

    sums = np.zeros(len(sequences))
    for batch in batches(sequences):
        entries = [sequences[i] for i in batch]
        with torch.inference_mode():
            flat = target_losses(model, entries, None).cpu().numpy()
        for i, part in zip(batch, np.split(flat, np.cumsum([entry.targets for entry in entries])[:-1]), strict=True):
            sums[i] = part.sum(dtype=np.float64)
    return sums


def difference(a: np.ndarray, b: np.ndarray, tokens: np.ndarray, users: np.ndarray) -> dict:
    """Mean of a - b per token with its standard error; a user's reviews are one cluster (ratio estimator)."""
    mean = (a - b).sum() / tokens.sum()
    _, cluster = np.unique(users, return_inverse=True)
    residuals = np.bincount(cluster, a - b) - mean * np.bincount(cluster, tokens)
    n = len(residuals)
    error = np.sqrt(n / (n - 1) * (residuals**2).sum()) / tokens.sum()
    return {"difference": float(mean), "standard_error": float(error), "z": float(mean / error)}


def probe(data: Path, weights: str, *, users: int = 0, seed: int = 0) -> dict:
    """The figures as a dict: per condition the loss in nats per token, and the paired differences."""
    backbone = find(weights)
    model, tokenizer = load_model(backbone, offline=True), load_tokenizer(backbone, offline=True)
    chat, template = chat_of(tokenizer), Template("compact")
    chosen = cases(data, users, seed)
    sums = {}
    for condition in CONDITIONS:
        sequences = [lay_out(case, condition, template, chat, tokenizer, 1536) for case in chosen]
        sums[condition] = losses(model, sequences)
    tokens = np.array([entry.targets for entry in sequences])
    who = np.array([case.target.review.user_id for case in chosen])
    return {
        "users": len(set(who)),
        "reviews": len(chosen),
        "tokens": int(tokens.sum()),
        "loss": {condition: float(total.sum() / tokens.sum()) for condition, total in sums.items()},
        "own_minus_none": difference(sums["own"], sums["none"], tokens, who),
        "own_minus_stranger": difference(sums["own"], sums["stranger"], tokens, who),
        "stranger_minus_none": difference(sums["stranger"], sums["none"], tokens, who),
    }


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("weights")
@click.option("--users", default=0, show_default=True, help="How many held-out users to take, 0 for all.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, weights: str, users: int, seed: int):
    """Probe the model folder WEIGHTS (or a catalogue name) on the review files in DATA."""
    found = probe(data, weights, users=users, seed=seed)
    click.echo(f"{found['reviews']} reviews of {found['users']} users, {found['tokens']} tokens", err=True)
    for condition, loss in found["loss"].items():
        click.echo(f"  {condition:9} {loss:.4f} nats per token", err=True)
    for name in ("own_minus_none", "own_minus_stranger", "stranger_minus_none"):
        row = found[name]
        click.echo(f"  {name:20} {row['difference']:+.4f} ± {row['standard_error']:.4f} (z {row['z']:+.1f})", err=True)
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
