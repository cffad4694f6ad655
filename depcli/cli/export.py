"""`dep export`: the store as JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from depcli.cli.options import Setting, at_commit, every_command
from depcli.words import count


@click.command("export")
@click.argument("file", default="-", metavar="[FILE]")
@click.option("--replace", is_flag=True, help="Write over FILE if it is there.")
@at_commit
@every_command
def command(setting: Setting, file: str, replace: bool, at: str | None) -> None:
    """Write the items and reviews as JSON lines, which `dep ingest` reads again into an equal store.

    FILE appears when it is whole; a name that ends in .gz is compressed. Without FILE the lines go to standard output.
    Vectors are not exported: ingesting embeds the texts again. To keep a store as it is, see `dep backup`.

    \b
    Examples:
      dep export reviews.jsonl.gz
      dep export --at 12 | head
      dep ingest reviews.jsonl.gz --profiles elsewhere
    """
    from depcli.store import Store
    from depcli.store.export import export, whole_file

    sink = setting.sink
    if file == "-" and sink.is_json:
        raise click.UsageError("--json needs a FILE: without one the export goes to standard output")
    snapshot = Store.open(setting.profiles).snapshot(at)
    with sink.progress("exporting", "reviews") as update:
        if file == "-":
            export(snapshot, sys.stdout.buffer, ascii_only=sys.stdout.isatty(), on_progress=update)
            sys.stdout.buffer.flush()
            return
        with whole_file(Path(file), replace=replace) as out:
            written = export(snapshot, out, on_progress=update)
    document = {
        "file": file, "bytes": Path(file).stat().st_size, "reviews": written.reviews, "items": written.items,
        "store_commit": snapshot.commit.id,
    }  # fmt: skip
    said = f"{count(written.reviews, 'review')} and {count(written.items, 'item')} in {file}"
    sink.result(document, lambda: sink.line(said))
