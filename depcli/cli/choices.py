"""The options of personal.choices, on every command that makes prompts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import click

_OPTIONS = (
    click.option(
        "--embeddings", type=click.Choice(["both", "his", "diff", "none"]),
        help="Soft tokens of past reviews. [default: both]",
    ),
    click.option("--review-text/--no-review-text", default=None, help="Past reviews as text too, or as soft tokens alone."),
    click.option("--guidance/--no-guidance", default=None, help="Whether the prompt says what the soft tokens are."),
    click.option(
        "--retrieval", type=click.Choice(["recency", "bm25", "dense", "random"]),
        help="Which past reviews are shown. [default: recency]",
    ),
)  # fmt: skip


def choose_parts(function: Callable) -> Callable:
    """Add the options; the command gets the fields that were named as `choices`."""

    @wraps(function)
    def with_choices(*arguments, embeddings, review_text, guidance, retrieval, **rest):
        asked = {"embeddings": embeddings, "review_text": review_text, "guidance": guidance, "retrieval": retrieval}
        return function(*arguments, choices={name: value for name, value in asked.items() if value is not None}, **rest)

    for option in reversed(_OPTIONS):
        with_choices = option(with_choices)
    return with_choices
