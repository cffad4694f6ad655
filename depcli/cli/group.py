"""The command `dep`. Its table names the commands, so that listing them loads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click

from depcli import __version__


@dataclass(frozen=True)
class Entry:
    """A command: the module that holds it as `command`, its line in `dep --help`, and what to say after Ctrl-C."""

    module: str
    summary: str
    going_on: str = ""


COMMANDS = {
    "ingest": Entry("ingest", "Put reviews into the store.", "what was committed is kept: run the same command again"),
    "train": Entry(
        "train",
        "Train an adapter on the reviews in the store.",
        "go on with the same command and --resume, or without it where no step was made yet",
    ),
    "write": Entry("write", "Write reviews in somebody's voice.", "run the same command again: what --out has is kept"),
    "eval": Entry("evaluate", "Compare methods on held-out reviews.", "predictions are kept: run the same command again"),
    "signal": Entry("signal", "Measure how well the vectors tell users apart."),
    "compare": Entry("compare", "Test finished evaluations against each other."),
    "predictions": Entry("predictions", "Write an evaluation in the shape of LaMP's outputs."),
    "methods": Entry("methods", "List the methods with what each needs."),
    "show": Entry("show", "Show the store, a user or an item."),
    "status": Entry("status", "Show what the store and its adapters hold."),
    "check": Entry("check", "Compute again what the store derives, and compare."),
    "export": Entry("export", "Write the store as JSON lines."),
    "backup": Entry("backup", "Copy the profiles while others write."),
    "log": Entry("log", "Show the commits of the store."),
    "forget": Entry("forget", "Erase users or items, down to the disk.", "run the same command again: it is all or nothing"),
    "compact": Entry("compact", "Join files and drop the data of old commits."),
    "path": Entry("path", "Print where the profiles are."),
    "demo": Entry("demo", "See all of it in minutes, on a made-up world.", "run `dep demo` again to start over"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"depcli.cli.commands.{COMMANDS[cmd_name].module}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}; there are: {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def going_on(arguments: list[str]) -> str:
    """How to go on after an interruption of the command in `arguments`; '' when there is nothing to go on with."""
    command = next((COMMANDS[word] for word in arguments if word in COMMANDS), None)
    return command.going_on if command else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(__version__, prog_name="dep")
def dep() -> None:
    """Write reviews in a person's voice.

    A small adapter turns what somebody wrote, and how it differs from what others wrote about the same things, into soft
    tokens for a frozen language model.

    \b
    Examples:
      dep demo                                     see all of it on a made-up world
      dep ingest reviews.jsonl --items items.jsonl
      dep train
      dep write --user U --item A
    """
