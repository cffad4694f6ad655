"""`dep backup`: a copy of the profiles folder."""

from __future__ import annotations

from pathlib import Path

import click

from depcli.cli.options.common import Setting, every_command


@click.command("backup")
@click.argument("destination", type=click.Path(path_type=Path), metavar="DEST")
@every_command
def command(setting: Setting, destination: Path) -> None:
    """Copy the store, the adapters and the evaluations into a new folder, while other commands may go on writing.

    The copy holds the newest commit of the moment it was begun, and the older ones that can still be read. It is a
    profiles folder like any other: name it with --profiles, or move it back. Nothing that is there is overwritten.

    \b
    Examples:
      dep backup backups/monday
      dep backup /mnt/usb/profiles --profiles ~/profiles
      dep check --profiles backups/monday
    """
    from depcli import profiles
    from depcli.adapters.files import names
    from depcli.store import Store
    from depcli.store.upkeep.backup import backup

    sink, store = setting.sink, Store.open(setting.profiles)
    with sink.progress("copying", "MB") as update:
        made = backup(
            store,
            destination,
            (profiles.ADAPTERS, profiles.EVALUATIONS),
            on_progress=lambda done: update(done / 1e6),
            on_wait=lambda holder: sink.note(f"waiting for process {holder}, which is to finish a forgetting first"),
        )
    document = {
        "destination": str(destination),
        "store_commit": made.commit.id,
        "number": made.commit.number,
        "bytes": made.bytes,
        "store": made.counts,
        "adapters": names(destination),
    }
    sink.result(document, lambda: _show(sink, document))


def _show(sink, document: dict) -> None:
    from depcli.cli.layout import holding, size

    sink.line(f"{document['destination']}: commit {document['number']} ({document['store_commit']}), {size(document['bytes'])}")
    held = holding(document["store"])
    sink.line(f"{held}; adapters: {', '.join(document['adapters']) or 'none'}")
    sink.note(f"dep check --profiles {document['destination']} examines it; forgetting somebody here does not reach it")
