"""`dep ingest`: reviews into the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TextIO

import click

from depcli.cli.options.common import Setting, every_command, may_download, no_wait
from depcli.words import count

_BAD_LINE = ("file", "line", "reason", "beginning")
FORMATS = ("jsonl", "csv", "tsv", "parquet", "amazon2023", "dpl", "lamp", "longlamp")  # a test compares them with the readers'


class _Column(click.ParamType):
    """FIELD=NAME as a pair."""

    name = "FIELD=NAME"

    def convert(self, value, param, ctx):
        field, equals, column = value.partition("=")
        if not (field and equals and column):
            self.fail(f"{value!r} is not {self.name}.", param, ctx)
        return self.known(field.strip(), column, param, ctx)

    def known(self, field: str, column: str, param, ctx) -> tuple:
        from depcli.readers.formats import COLUMNS

        if field not in COLUMNS:
            self.fail(f"no field {field!r}; known: {', '.join(COLUMNS)}.", param, ctx)
        return field, column


class _Threshold(_Column):
    """RULE=N as a pair."""

    name = "RULE=N"

    def known(self, field: str, column: str, param, ctx) -> tuple:
        from depcli.errors import BadInput
        from depcli.filtering.rules import thresholds

        number = click.INT.convert(column, param, ctx)
        try:
            thresholds({field: number})
        except BadInput as error:
            self.fail("; ".join(filter(None, (error.message, error.hint))) + ".", param, ctx)
        return field, number


@click.command("ingest")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--items", metavar="FILE", help="Titles and descriptions of the items.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    metavar="NAME",
    help="jsonl, csv, tsv (no quotes), parquet, amazon2023, dpl, lamp or longlamp. [default: found out from the file]",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    type=_Column(),
    metavar="FIELD=NAME",
    help="What user_id, asin, text, rating, title, timestamp, item_title or item_description is called in the files.",
)
@click.option("--user", metavar="ID", help="Who wrote the reviews, where the files do not say: your own export.")
@click.option("--filter", "chosen", type=click.Choice(["dpl"]), help="Keep only what DPL's rules keep, and say what they drop.")
@click.option(
    "--threshold",
    "limits",
    multiple=True,
    type=_Threshold(),
    metavar="RULE=N",
    help="Another number for a rule, such as reviews=10; 0 switches it off. An unknown RULE lists them all.",
)
@click.option(
    "--embedder",
    metavar="NAME",
    help="bge-m3, minilm, minilm+style, or a bge-m3 folder. [default: the store's, or what is at hand]",
)
@click.option(
    "--bad-lines",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write every line that cannot be used here: file, line, reason and its beginning, as JSON lines.",
)
@click.option("--strict", is_flag=True, help="Stop at the first line that cannot be used.")
@may_download
@no_wait
@every_command
def command(
    setting: Setting,
    files: tuple[str, ...],
    items: str | None,
    form: str | None,
    columns: tuple[tuple[str, str], ...],
    user: str | None,
    chosen: str | None,
    limits: tuple[tuple[str, int], ...],
    embedder: str | None,
    bad_lines: Path | None,
    strict: bool,
    no_wait: bool,
) -> None:
    """Put reviews into the store, and make the store if there is none.

    FILE is JSON (lines or an array), CSV or TSV, gzipped or not, parquet, the folder of a data set that was saved with
    save_to_disk(), or - for standard input. Each review needs a user, an item and a text; rating, title and time are
    welcome: a rating is above 0 and at most 10, or 0 where there is none; a time is seconds since 1970 or a date
    such as 2009-05-31, 20090531, 2009-05 or, in a CSV, 2009. (Save Excel's dates as dates: their numbers count as seconds.)
    A review that is known already costs nothing. Of what a user wrote about an item the newest stays; without a date, what was
    read last.
    Interrupted, it goes on where it stopped when you run it again.

    --filter reads the files twice. It knows only them, not what the store holds already.

    \b
    Examples:
      dep ingest reviews.jsonl --items items.jsonl
      dep ingest All_Beauty.jsonl.gz --items meta_All_Beauty.jsonl.gz
      dep ingest amazon.csv --column user_id=customer_id --column asin=product_id --column text=review_body
      dep ingest goodreads.csv --user me --column asin="Book Id" --column text="My Review"
      dep ingest DPL-main/Books --items DPL-meta/Books
      dep ingest Books.jsonl.gz --items meta_Books.jsonl.gz --filter dpl --threshold reviews=10
      dep ingest LaMP_4/dev_questions.json             dev_outputs.json beside it is read too
      zcat reviews.gz | dep ingest - --profiles ~/profiles
    """
    from depcli import profiles, readers
    from depcli.cli.filtered import filter_all
    from depcli.errors import BadInput
    from depcli.store.writing.ingest import ingest

    if limits and not chosen:
        raise click.UsageError("--threshold is for --filter.")
    if chosen and "-" in (*files, items):
        raise click.UsageError("--filter reads everything twice, which standard input cannot be.")
    if (*files, items).count("-") > 1:
        raise click.UsageError("standard input can be read once only.")
    for option, pairs in (("--column", columns), ("--threshold", limits)):
        if twice := sorted({name for name, _ in pairs if [each for each, _ in pairs].count(name) > 1}):
            raise click.UsageError(f"{option} names {twice[0]} more than once.")
    sink, reports = setting.sink, []
    with ExitStack() as stack:

        def opened() -> list:
            found = [(items, readers.read_items(items, dict(columns)))] if items else []
            found += [(file, readers.open_reviews(file, form, dict(columns), user, items_beside=bool(items))) for file in files]
            return [("standard input" if file == "-" else file, stack.enter_context(reader)) for file, reader in found]

        # Every file is opened before the store is touched: a typo in the last name shall not cost the work on the first.
        inputs = opened()
        out = stack.enter_context(_for_bad_lines(bad_lines)) if bad_lines else None
        filtering = filter_all(sink, opened(), dict(limits)) if chosen else None
        store, model, reason = profiles.store_to_fill(setting.profiles, embedder, offline=setting.offline, ask=sink.ask)
        sink.note(f"embedder: {model.identity}: {reason}")
        in_use = profiles.commits_in_use(setting.profiles)
        for file, reader in inputs:
            sink.note(f"{file}: read as {reader.format}: {reader.reason}")
            with sink.progress("reading and embedding", "reviews" if reader.position is None else "kB") as update:
                report = ingest(
                    store,
                    _noted(out, file, filtering.kept(reader) if filtering else reader),
                    model,
                    source=file,
                    strict=strict,
                    wait=not no_wait,
                    on_progress=partial(_show_progress, update, reader),
                    on_wait=setting.on_wait,
                    in_use=in_use,
                )
            for line in report.first_bad:
                sink.note(": ".join(filter(None, (f"{file}, {line.unit} {line.line_number}", line.reason, line.excerpt))))
            if out is None and report.bad_lines > len(report.first_bad):
                more = count(report.bad_lines - len(report.first_bad), f"more such {report.first_bad[0].unit}")
                sink.note(f"{file}: {more}; --bad-lines FILE has all of them")
            if report.first_outdated:
                sink.note(_outdated(file, report))
            reports.append({"file": file, **asdict(report)})
    snapshot = store.snapshot()
    told = any(each["items"] or each["added"] or each["replaced"] for each in reports)  # else nothing new could be said
    document = {
        "profiles": str(setting.profiles),
        "embedder": asdict(store.embedder),
        "store": snapshot.counts(),
        "undescribed_items": snapshot.undescribed() if told else None,
        "untimed_reviews": snapshot.untimed() if told else None,
        "files": reports,
        **({"filter": filtering.document()} if filtering else {}),
    }
    sink.result(document, lambda: _show(sink, document))
    for each in reports:
        if each["bad_lines"] and not each["reviews"] and not each["items"]:
            first = each["first_bad"][0]
            where = f"{first['unit']} {first['line_number']}"
            message = f"no {first['unit']} of {each['file']} can be used; {where}: {first['reason']}"
            raise BadInput(message, "; ".join(["--bad-lines FILE has all of them", *_hints(each["first_bad"])]))


def _hints(bad: Iterable[dict]) -> Iterable[str]:
    """How to mend each kind of bad line, once."""
    names = "--column FIELD=NAME says what the fields are called"
    return dict.fromkeys(hint for line in bad for hint in line["hints"] or [names])


def _outdated(file: str, report) -> str:
    """What is left out without being bad, and what to do where it should not be."""
    user, item = report.first_outdated
    return (
        f"{file}: {count(report.outdated, 'review')} outdated: of what a user wrote about an item the newest stays, and nothing "
        f"that was replaced comes back; first that of user {user!r} about item {item!r}. Texts about other things need items of "
        "their own; another version can be read after dep forget --item"
    )


def _for_bad_lines(path: Path) -> TextIO:
    from depcli.errors import DepError
    from depcli.system.permissions import make_private, private

    try:
        if path.is_file() and not _holds_bad_lines(path):
            raise DepError(f"{path} holds something else than bad lines", "name another file with --bad-lines")
        with private():
            file = open(path, "w", encoding="utf-8")
        if path.is_file():  # no device, no pipe
            with suppress(PermissionError):  # it is somebody else's, who lets us write
                make_private(path)
        return file
    except OSError as error:
        raise DepError(f"{path} cannot be written: {error.strerror}", "name another file with --bad-lines") from None


def _holds_bad_lines(path: Path) -> bool:
    """Whether a file is empty, or of an earlier --bad-lines: everything else stays."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    try:
        return not first or tuple(json.loads(first)) == _BAD_LINE
    except (ValueError, TypeError):
        return False


def _noted(out: TextIO | None, file: str, entries: Iterable) -> Iterator:
    """The entries, and the bad lines among them in a file too."""
    from depcli.readers import BadLine

    for entry in entries:
        if out and isinstance(entry, BadLine):
            line = dict(zip(_BAD_LINE, (file, entry.line_number, entry.reason, entry.excerpt), strict=True))
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
        yield entry


def _show_progress(update, reader, event: dict) -> None:
    """One step of the bar, which tells the time left where it is known how long the file is."""
    detail = f"{event['reviews_per_second']:,.0f}/s, {event['bad_lines']:,} bad lines"
    if reader.position is None:
        update(event["reviews_done"], detail=detail)
    else:
        done, total = reader.position
        update(done / 1000, total / 1000, detail=f"{event['reviews_done']:,} reviews, {detail}")


def _show(sink, document: dict) -> None:
    from depcli.cli.filtered import show_filter
    from depcli.cli.layout import holding

    if "filter" in document:
        show_filter(sink, document["filter"])
    for report in document["files"]:
        said = [f"{report[key]:,} {key}" for key in ("added", "replaced", "unchanged", "outdated") if report[key]]
        said += [count(report["items"], "item")] if report["items"] else []
        if report["bad_lines"]:
            said.append(f"{count(report['bad_lines'], 'bad ' + report['first_bad'][0]['unit'])} left out")
        said = ", ".join(said) or "nothing new"
        read = f"{count(report['reviews'], 'review')} " if report["reviews"] or not report["items"] else ""
        sink.line(f"{report['file']}: {read}read in {report['seconds']:.1f} s: {said}")
    sink.line(f"{document['profiles']} now holds {holding(document['store'])}")
    if nameless := document["undescribed_items"]:
        some = f"{nameless:,} of {count(document['store']['items'], 'item')}"
        sink.note(f"without title and description: {some}; a text about one is about anything (--items FILE describes items)")
    if untimed := document["untimed_reviews"]:
        some = f"{untimed:,} of {count(document['store']['reviews'], 'review')}"
        sink.note(f"without a time: {some}; of somebody's reviews they count as the first, in the order of the items' ids")
