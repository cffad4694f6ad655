"""`dep check`: is the store what it says it is?"""

from __future__ import annotations

import click

from depcli.cli.options import Setting, every_command
from depcli.errors import DONE, FAILURE


@click.command("check")
@every_command
def command(setting: Setting) -> int:
    """Compute again everything that the store derives from the reviews, and compare.

    Looked at: commits and table versions, keys, text hashes and vectors of every review, every item sum, indexes. The exit
    code is 0 when all is well and 1 when something is not.

    \b
    Examples:
      dep check
      dep check --profiles ~/profiles --json
    """
    from depcli.store import Store
    from depcli.store.check import check

    sink, store = setting.sink, Store.open(setting.profiles)
    with sink.progress("checking", "rows") as update:
        report = check(store, lambda what, done, total: update(done, total, what))
    document = {"profiles": str(setting.profiles), "ok": report.ok, **_document(report)}
    sink.result(document, lambda: _show(sink, document))
    return DONE if report.ok else FAILURE


def _document(report) -> dict:
    from dataclasses import asdict

    return asdict(report)


def _show(sink, document: dict) -> None:
    sink.line(f"{document['profiles']}, commit {document['number']} ({document['commit']}), in {document['seconds']:.1f} s")
    found: dict[str, int] = {}
    for finding in document["findings"]:
        found[finding["what"]] = found.get(finding["what"], 0) + finding["count"]
    rows = [(what, f"{count:,}", f"{found.pop(what, 0):,}") for what, count in document["checked"].items()]
    sink.table(("what", "checked", "wrong"), rows + [(what, "-", f"{count:,}") for what, count in found.items()])
    for finding in document["findings"]:
        sink.line(f"{finding['what']}: {finding['count']:,}: {finding['message']}")
        for example in finding["examples"]:
            sink.line(f"  {example}")
    for note in document["notes"]:
        sink.note(f"note: {note}")
