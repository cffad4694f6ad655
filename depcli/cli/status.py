"""`dep status`: what the store and its adapters hold."""

from __future__ import annotations

import click

from depcli.cli.options import Setting, every_command

_COMMITS_SHOWN = 5


@click.command("status")
@every_command
def command(setting: Setting) -> None:
    """Show what the store and its adapters hold: counts, embedder, size on disk, the last commits, the adapters.

    \b
    Examples:
      dep status
      dep status --profiles ~/profiles --json
    """
    from depcli.profiles import overview

    document = overview(setting.profiles)
    setting.sink.result(document, lambda: _show(setting.sink, document))


def _show(sink, document: dict) -> None:
    store, embedder = document["store"], document["store"]["embedder"]
    sink.heading(document["profiles"])
    sink.line(f"{store['reviews']:,} reviews by {store['users']:,} users of {store['items']:,} items, {_size(store['bytes'])}")
    sink.line(f"embedder: {embedder['name']}, {embedder['dimension']}-d, {embedder['revision']}")
    sink.line()
    sink.heading(f"Last commits (of {len(store['commits']):,})")
    newest = store["commits"][: -_COMMITS_SHOWN - 1 : -1]
    sink.table(("number", "id", "when (UTC)", "what", "changes", "from"), [_commit(commit) for commit in newest])
    sink.line()
    sink.heading("Adapters")
    if document["adapters"]:
        sink.table(("name", "backbone", "size", "validation loss", "note"), [_adapter(entry) for entry in document["adapters"]])
    else:
        sink.line("none yet: dep train makes one")
    for name in document["unfinished_adapters"]:
        sink.line(f"unfinished: {name} (dep train --adapter {name} --resume goes on)")


def _commit(commit: dict) -> tuple[str, ...]:
    changes = ", ".join(f"{count:,} {what}" for what, count in commit["counts"].items() if count)
    when = commit["created"][:19].replace("T", " ")
    return str(commit["number"]), commit["id"], when, commit["action"], changes or "-", commit["source"] or "-"


def _adapter(entry: dict) -> tuple[str, ...]:
    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in entry.get("validation_losses", {}).items())
    return entry["name"], entry.get("backbone", "-"), _size(entry["bytes"]), losses or "-", entry.get("problem", "")


def _size(number: float) -> str:
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
