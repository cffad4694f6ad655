"""`dep compact`: give space back."""

from __future__ import annotations

from dataclasses import asdict

import click

from depcli.cli.options import Finite, Setting, every_command


@click.command("compact")
@click.option(
    "--keep", type=Finite(min=0), default=7, show_default=True, metavar="DAYS", help="Keep the commits of the last DAYS days."
)
@click.option("--no-wait", is_flag=True, help="Fail at once when another process writes to the store.")
@every_command
def command(setting: Setting, keep: float, no_wait: bool) -> None:
    """Join small files, bring indexes up to date, and drop the data of old commits.

    The newest commit stays, however old it is, and so do the commits that adapters were trained on, with all after them.
    --keep 0 keeps the newest one alone: adapters still write, but `dep eval` cannot test them on what they have not seen.

    \b
    Examples:
      dep compact
      dep compact --keep 30
      dep compact --keep 0 --profiles ~/profiles
    """
    from depcli.profiles import commits_in_use
    from depcli.store import Store
    from depcli.store.compact import compact

    sink, in_use = setting.sink, commits_in_use(setting.profiles) if keep else {}
    with Store.open(setting.profiles).writer(
        wait=not no_wait, on_wait=lambda holder: sink.note(f"waiting for process {holder}, which is writing to the store")
    ) as writer:
        done = compact(writer.tables, keep, in_use)
    document = {"profiles": str(setting.profiles), "keep_days": keep, **asdict(done)}
    sink.result(document, lambda: _show(sink, document))


def _show(sink, document: dict) -> None:
    from depcli.cli.layout import size

    before, after = size(document["bytes_before"]), size(document["bytes_after"])
    sink.line(f"{document['profiles']}: {before} before, {after} now")
    sink.line(f"{document['dropped']:,} earlier commits dropped, {document['readable']:,} can be read")
    if document["bytes_after"] > document["bytes_before"]:
        sink.note("what was joined is there twice, since recent commits need the pieces too: --keep 0 gives these commits up")
