"""The options of personal.choices, on every command that makes prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps

import click

_OPTIONS = (
    click.option(
        "--embeddings",
        type=click.Choice(["both", "his", "diff", "none"]),
        help="Soft tokens of past reviews (his), of their differences from the peers (diff). [default: both]",
    ),
    click.option("--review-text/--no-review-text", default=None, help="Past reviews as text too, or as soft tokens alone."),
    click.option("--guidance/--no-guidance", default=None, help="Whether the prompt says what the soft tokens are."),
    click.option(
        "--retrieval",
        type=click.Choice(["recency", "bm25", "dense", "random"]),
        help="Which past reviews are shown. [default: recency]",
    ),
    click.option(
        "--peer-weighting",
        type=click.Choice(["mean", "distance"]),
        help="Differences from all peers alike, or more from those who write otherwise. [default: mean]",
    ),
)


_AS_TRAINED = (
    click.option(
        "--min-peers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Nobody is compared with fewer peers; an adapter refuses another N than its own. [default: the adapter's, else 1]",
    ),
    click.option(
        "--history",
        type=click.IntRange(min=0),
        metavar="K",
        help="Past reviews in a prompt at most; an adapter refuses another K. [default: the adapter's, else 8]",
    ),
)


def as_trained(function: Callable) -> Callable:
    """Add the options min_peers and history of the commands that use an adapter, which has its own."""
    for option in reversed(_AS_TRAINED):
        function = option(function)
    return function


_NAMES = ("embeddings", "review_text", "guidance", "retrieval", "peer_weighting")


def typed(names: Iterable[str]) -> list[str]:
    """Those of the running command's parameters that were typed, and not set by a preset."""
    context = click.get_current_context()
    return [name for name in names if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]


def check_concerned(methods: Sequence[str]) -> None:
    """Refuse what was typed and changes nothing in any of these methods."""
    from depcli.methods import find
    from depcli.personal.choices import concerns

    for name in typed((*_NAMES, "history")):
        if not any(concerns(name, find(method)) for method in methods):
            raise click.UsageError(f"--{name.replace('_', '-')} means nothing to {' or '.join(methods)}; leave it out.")


def choose_parts(function: Callable) -> Callable:
    """Add the options; the command gets the fields that were named as `choices`."""

    @wraps(function)
    def with_choices(*arguments, **values):
        choices = {name: value for name in _NAMES if (value := values.pop(name)) is not None}
        return function(*arguments, choices=choices, **values)

    for option in reversed(_OPTIONS):
        with_choices = option(with_choices)
    return with_choices
