"""`dep path`: where the profiles are."""

from __future__ import annotations

import click

from depcli.cli.options.common import Setting, every_command


@click.command("path")
@every_command
def command(setting: Setting) -> None:
    """Print the profiles folder that commands use here, whether it is there yet or not, and nothing else.

    \b
    Examples:
      dep path
      cd "$(dep path)"
    """
    path = str(setting.profiles.absolute())
    setting.sink.result({"profiles": path}, lambda: setting.sink.line(path))
