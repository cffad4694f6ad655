"""`--split NAME` of `dep train`, `dep eval` and `dep export --rows`: what is learned and what is tested."""

from __future__ import annotations

import click

from depcli.errors import BadInput

_FORMS = "leave-last-out[:N], time[:DATE], unseen-users[:SHARE], cold-start[:K]"


class _Split(click.ParamType):
    """The name of a split, with its number."""

    name = "split"

    def convert(self, value, param, ctx):
        from depcli.splits import named

        try:
            named.parse(value)
        except BadInput as error:
            self.fail(f"{error.message}; {error.hint}.", param, ctx)
        return value


def choose_split(default: str):
    """The option; `default` is what its help says of leaving it out."""
    return click.option(
        "--split",
        type=_Split(),
        metavar="NAME",
        help=f"What is learned and tested: {_FORMS}. [default: {default}]",
    )
