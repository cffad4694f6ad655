"""`dep log`: what was done to the store, commit by commit."""

from __future__ import annotations

import click

from depcli.cli.options.common import Setting, every_command
from depcli.words import count


@click.command("log")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="The newest N commits.")
@click.option("--all", "everything", is_flag=True, help="All commits.")
@every_command
def command(setting: Setting, limit: int, everything: bool) -> None:
    """Show the commits of the store, newest first: when, what, how much, and from where.

    Commands take one with --at COMMIT and read the store as it was. The data of those marked gone were erased or compacted away.
    --json has all commits in any case.

    \b
    Examples:
      dep log
      dep log --all
      dep log --json
    """
    from depcli.profiles import commit_documents
    from depcli.store import Store

    document = {"profiles": str(setting.profiles.resolve()), "commits": commit_documents(Store.open(setting.profiles))}
    log = document["commits"]
    setting.sink.result(document, lambda: _show(setting.sink, log, len(log) if everything else limit))


def _show(sink, commits: list[dict], limit: int) -> None:
    show_commits(sink, commits[: -limit - 1 : -1])
    if len(commits) > limit:
        sink.note(f"{count(len(commits) - limit, 'older commit')}: --all")


def show_commits(sink, commits: list[dict]) -> None:
    """A table of commits, newest first, 80 columns wide."""
    from depcli.cli import layout

    rows = [(str(commit["number"]), commit["id"], commit["created"][:16].replace("T", " "), _said(commit)) for commit in commits]
    layout.table(sink, ("no.", "id", "when (UTC)", "what"), rows, flexible=3)


_ONE = {"items": "item", "reviews_removed": "review_removed", "commits_dropped": "commit_dropped"}


def _said(commit: dict) -> str:
    """What a commit did. Of the source the file name, which tells more than the folders before it."""
    changes = ", ".join(
        f"{count:,} {_ONE.get(what, what) if count == 1 else what}".replace("_", " ")
        for what, count in commit["counts"].items()
        if _is_change(what, count)
    )
    said = commit["action"] + ("" if commit["readable"] else " (gone)") + (f": {changes}" if changes else "")
    source = commit["source"]
    return said + (f"; {source.rpartition('/')[2] or source}" if source else "")


def _is_change(what: str, count: int) -> bool:
    return bool(count) and what not in ("unchanged", "outdated")
