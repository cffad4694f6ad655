"""`--as-of TIME`: the store as it stood at a moment."""

from __future__ import annotations

import click

from depcli.cli.sink import Sink


class _Moment(click.ParamType):
    """A point in time as review files write it, read by the same rule; becomes unix seconds."""

    name = "timestamp"

    def convert(self, value, param, ctx):
        from depcli.readers.entries import BadField
        from depcli.readers.fields import moment

        try:
            return moment(value)
        except BadField:
            self.fail(f"{value!r} is no time: give seconds since 1970, or a date such as 2009-05-31T18:00.", param, ctx)


as_of_moment = click.option(
    "--as-of",
    type=_Moment(),
    metavar="TIME",
    help="Only reviews up to then exist: seconds since 1970, or an ISO date, with a time of day (UTC) where that matters; of a "
    "day, a month or a year the beginning.",
)


def tell_moment(sink: Sink, moment: float | None) -> None:
    """Say how the moment was understood, and what it leaves out."""
    from depcli.personal.history import moment_text

    if moment is not None:
        sink.note(f"as of {moment_text(moment)}: later reviews are left out, and those without a time")
