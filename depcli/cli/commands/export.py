"""`dep export`: the store as JSON lines, or a split of it as rows for the code of others."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from depcli.cli.options.common import Setting, at_commit, every_command
from depcli.cli.options.split import choose_split
from depcli.words import count


@click.command("export")
@click.argument("file", default="-", metavar="[FILE]")
@click.option(
    "--rows",
    "role",
    type=click.Choice(["train", "validation", "test"]),
    help="Instead the layout of DPL's data sets: a row for each of these reviews of the split, as data, and the user's reviews "
    "before it, as profile.",
)
@choose_split("leave-last-out")
@click.option("--items", metavar="FILE", help="With --rows: titles and descriptions of the items, which the rows have not.")
@click.option("--replace", is_flag=True, help="Write over FILE if it is there.")
@at_commit
@every_command
def command(
    setting: Setting, file: str, role: str | None, split: str | None, items: str | None, replace: bool, at: str | None
) -> None:
    """Write the items and reviews as JSON lines, which `dep ingest` reads again into an equal store.

    FILE appears when it is whole; a name that ends in .gz is compressed. Without FILE the lines go to standard output.
    Vectors are not exported: ingesting embeds the texts again. To keep a store as it is, see `dep backup`.

    \b
    Examples:
      dep export reviews.jsonl.gz
      dep export --at 12 | head
      dep ingest reviews.jsonl.gz --profiles elsewhere
      dep export test.jsonl --rows test --items items.jsonl
      dep export train.jsonl --rows train --split unseen-users:0.2
    """
    from depcli.store import Store
    from depcli.store.export import export, items_of, whole_file, write_lines

    sink = setting.sink
    if (split or items) and not role:
        raise click.UsageError("--split and --items are for --rows.")
    if items and Path(items).resolve() == Path(file).resolve():
        raise click.UsageError("--items needs a file of its own.")
    if file == "-" and sink.is_json:
        raise click.UsageError("--json needs a FILE: without one the export goes to standard output")
    snapshot = Store.open(setting.profiles).snapshot(at)
    told, rows = _rows(sink, snapshot, role, split) if role else ({}, None)

    def write(out, **how) -> dict:
        if rows is not None:
            return {"rows": write_lines(out, rows, **how)}
        written = export(snapshot, out, **how)
        return {"reviews": written.reviews, "items": written.items}

    with sink.progress("exporting", "rows" if role else "reviews") as update:
        with ExitStack() as stack:  # both files can be written, or neither appears
            beside = stack.enter_context(whole_file(Path(items), replace=replace)) if items else None
            out = sys.stdout.buffer if file == "-" else stack.enter_context(whole_file(Path(file), replace=replace))
            written = write(out, ascii_only=file == "-" and sys.stdout.isatty(), on_progress=update)
            if beside:
                told["items"] = write_lines(beside, items_of(snapshot))
        if file == "-":
            sys.stdout.buffer.flush()
            return
    document = {"file": file, "bytes": Path(file).stat().st_size, **written, **told, "store_commit": snapshot.commit.id}
    said = " and ".join(count(number, name.removesuffix("s")) for name, number in written.items())
    more = f"; {count(told['items'], 'item')} in {items}" if items else ""
    sink.result(document, lambda: sink.line(f"{said} in {file}{more}"))


def _rows(sink, snapshot, role: str, asked: str | None) -> tuple[dict, object]:
    """(what is told of the split, its rows)."""
    from depcli.splits import named
    from depcli.splits.dpl_rows import rows

    split = named.make(snapshot, asked or named.LEAVE_LAST_OUT)
    for note in split.notes():
        sink.note(note)
    return {"split": split.name, "split_digest": split.digest, "role": role}, rows(snapshot, getattr(split, role))
