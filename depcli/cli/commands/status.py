"""`dep status`: what the store and its adapters hold."""

from __future__ import annotations

import click

from depcli.cli.options.common import Setting, at_commit, every_command

_COMMITS_SHOWN = 5


@click.command("status")
@at_commit
@every_command
def command(setting: Setting, at: str | None) -> None:
    """Show what the store and its adapters hold: counts, embedder, size on disk, the last commits, the adapters.

    With --at the counts and commits are those of then; sizes and adapters are always those of now.

    \b
    Examples:
      dep status
      dep status --at 12
      dep status --profiles ~/profiles --json
    """
    from depcli.profiles import overview

    document = overview(setting.profiles, at)
    setting.sink.result(document, lambda: _show(setting.sink, document))


def _show(sink, document: dict) -> None:
    from depcli.cli import layout
    from depcli.cli.commands.log import show_commits

    store, embedder, adapters = document["store"], document["store"]["embedder"], document["adapters"]
    sink.heading(document["profiles"])
    sink.line(layout.holding(store))
    sink.line(f"embedder: {embedder['name']}, {embedder['dimension']}-d, {embedder['revision']}")
    layout.show(sink, _sizes(document), lines=4)
    if store["unfinished_erasing"]:
        sink.line("a forgetting was interrupted: dep check --repair finishes it")
    sink.line()
    log = store["commits"]
    sink.heading(f"Last commits (of {len(log):,}, {store['readable_commits']:,} readable)")
    show_commits(sink, log[: -_COMMITS_SHOWN - 1 : -1])
    sink.line()
    sink.heading("Adapters")
    if adapters:
        layout.table(sink, ("name", "backbone", "size", "validation loss"), [_adapter(entry) for entry in adapters], flexible=3)
        for entry in adapters:
            if "problem" in entry:
                layout.show(sink, f"{entry['name']}: {entry['problem']}", lines=3)
    else:
        sink.line("none yet: dep train makes one")
    for name in document["unfinished_adapters"]:
        if name not in document["adapters_under_way"]:
            sink.line(f"unfinished: {name} (dep train --adapter {name} --resume goes on, or --replace begins again)")
    for name in document["adapters_under_way"]:
        sink.line(f"under way: {name}")


def _sizes(document: dict) -> str:
    from depcli.cli.layout import size

    tables = document["store"]["tables"]
    said = [
        f"on disk: {size(document['store']['bytes'])}, of which " + ", ".join(f"{size(tables[name])} {name}" for name in tables)
    ]
    for name in ("adapters", "evaluations"):
        if document[name]:
            said.append(f"{name} {size(sum(entry['bytes'] for entry in document[name]))}")
    said += [f"kept {name} {size(taken)}" for name, taken in document["cache"].items() if taken]
    return "; ".join(said)


def _adapter(entry: dict) -> tuple[str, ...]:
    from depcli.cli.layout import size

    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in entry.get("validation_losses", {}).items())
    return entry["name"], entry.get("backbone", "-"), size(entry["bytes"]), losses or "-"
