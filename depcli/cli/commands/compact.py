"""`dep compact`: give space back."""

from __future__ import annotations

from dataclasses import asdict

import click

from depcli.cli.options.common import Finite, Setting, every_command, no_wait
from depcli.words import count


@click.command("compact")
@click.option(
    "--keep", type=Finite(min=0), default=7, show_default=True, metavar="DAYS", help="Keep the commits of the last DAYS days."
)
@no_wait
@every_command
def command(setting: Setting, keep: float, no_wait: bool) -> None:
    """Join small files, bring indexes up to date, and drop the data of old commits.

    The newest commit stays, however old it is, and so do the commits that adapters were trained on, with all after them.
    While recent commits stay the store may grow: what is joined is there twice, until they are older than DAYS and it is
    compacted again. --keep 0 keeps the newest one alone: adapters still write, but `dep eval` cannot test those that were
    trained on an earlier one, which are named.

    \b
    Examples:
      dep compact
      dep compact --keep 30
      dep compact --keep 0 --profiles ~/profiles
    """
    from depcli.profiles import commits_in_use, untestable
    from depcli.store import Store
    from depcli.store.upkeep.compact import compact

    sink, in_use = setting.sink, commits_in_use(setting.profiles) if keep else {}
    store, before = Store.open(setting.profiles), untestable(setting.profiles)
    with store.writer(wait=not no_wait, on_wait=setting.on_wait) as writer:
        done = compact(writer.tables, keep, in_use)
    lost = sorted(untestable(setting.profiles) - before)
    document = {"profiles": str(setting.profiles), "keep_days": keep, **asdict(done), "untestable_adapters": lost}
    sink.result(document, lambda: _show(sink, document))


def _show(sink, document: dict) -> None:
    from depcli.cli.layout import size

    before, after = size(document["bytes_before"]), size(document["bytes_after"])
    sink.line(f"{document['profiles']}: {before} before, {after} now")
    sink.line(f"{count(document['dropped'], 'earlier commit')} dropped, {document['readable']:,} can be read")
    if document["untestable_adapters"]:
        sink.line(f"dep eval needs these adapters trained again: {', '.join(document['untestable_adapters'])}")
    if document["bytes_after"] > document["bytes_before"]:
        sink.note("what was joined is there twice, since recent commits need the pieces too: --keep 0 gives these commits up")
