"""`dep compare`: finished evaluations against each other."""

from __future__ import annotations

import click

from depcli.cli.options.common import Setting, every_command


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@every_command
def command(setting: Setting, runs: tuple[str, ...]) -> None:
    """Test finished evaluations against each other on the requests that they share.

    A RUN is a folder that `dep eval` wrote to, or its name under evaluations/ of the profiles. Methods of the same name are
    compared, the later run against the earlier one; runs that share no method are compared method by method.

    \b
    Examples:
      dep compare before-test after-test
      dep compare results/seed0 results/seed1
    """
    from depcli.evaluation.between import compare_runs
    from depcli.profiles import run_named

    if len(runs) < 2:
        raise click.UsageError("name two runs or more.")
    found = compare_runs([run_named(setting.profiles, run) for run in runs])
    setting.sink.result(found, lambda: _show(setting.sink, found))


def _show(sink, found: dict) -> None:
    from depcli.cli import layout
    from depcli.evaluation.report import between

    layout.report(sink, between.tables(found), between.notes(found))
