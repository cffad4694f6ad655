"""`dep log`: what was done to the store, commit by commit."""

from __future__ import annotations

import click

from depcli.cli.options import Setting, every_command


@click.command("log")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="The newest N commits.")
@every_command
def command(setting: Setting, limit: int) -> None:
    """Show the commits of the store, newest first: when, what, how much, and from where.

    Commands take one with --at COMMIT and read the store as it was. Those marked gone were erased or compacted away.
    --json has all commits, whatever --limit says.

    \b
    Examples:
      dep log
      dep log --limit 100
      dep log --json
    """
    from depcli.profiles import commit_documents
    from depcli.store import Store

    document = {"profiles": str(setting.profiles.resolve()), "commits": commit_documents(Store.open(setting.profiles))}
    setting.sink.result(document, lambda: _show(setting.sink, document["commits"], limit))


def _show(sink, commits: list[dict], limit: int) -> None:
    show_commits(sink, commits[: -limit - 1 : -1])
    if len(commits) > limit:
        sink.note(f"{len(commits) - limit:,} older ones: --limit {len(commits)}")


def show_commits(sink, commits: list[dict]) -> None:
    """A table of commits, newest first, 80 columns wide."""
    from depcli.cli import layout

    rows = [
        (str(commit["number"]), commit["id"], commit["created"][:16].replace("T", " "), commit["action"], _changes(commit),
         _end_of(commit["source"]))
        for commit in commits
    ]  # fmt: skip
    layout.table(sink, ("number", "id", "when (UTC)", "what", "changes", "from"), rows, flexible=5)


def _changes(commit: dict) -> str:
    counted = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in commit["counts"].items() if count)
    return (counted or "-") + ("" if commit["readable"] else " (gone)")


def _end_of(source: str) -> str:
    """The name of a file tells more than the folders before it."""
    return source.rpartition("/")[2] or source or "-"
