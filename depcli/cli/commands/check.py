"""`dep check`: is the store what it says it is?"""

from __future__ import annotations

from dataclasses import asdict

import click

from depcli.cli.options.common import Setting, every_command, may_download, no_wait
from depcli.errors import DONE, FAILURE
from depcli.words import count


@click.command("check")
@click.option("--repair", "mend", is_flag=True, help="Mend what can be computed again.")
@may_download
@no_wait
@every_command
def command(setting: Setting, mend: bool, no_wait: bool) -> int:
    """Compute again everything that the store derives from the reviews, and compare.

    Looked at: commits and table versions, keys, text hashes and vectors of every review, every item sum, indexes. With
    --repair what differs is computed again, and of several reviews of one user and item the newest stays; a vector that is no
    use is made again by the store's embedder. The exit code is 0 when all is well in the end, and 1 when something is not.

    \b
    Examples:
      dep check
      dep check --repair
      dep check --profiles ~/profiles --json
    """
    from depcli import embedders
    from depcli.store import Store
    from depcli.store.upkeep.check import check
    from depcli.store.upkeep.repair import repair

    sink, repaired = setting.sink, {}
    if mend:
        rescued = Store.rescue(setting.profiles, not no_wait, setting.on_wait)
        if rescued.versions:
            sink.note(f"given up, since its file was cut short: {count(rescued.versions, 'version')} of a table")
        if rescued.sums:
            sink.note("the item sums were gone and are added up anew: commits before this one cannot be read any more")
            repaired["item_sums"] = 1
    store = Store.open(setting.profiles)
    with sink.progress("checking", "rows") as update:

        def show(what: str, done: int, total: int) -> None:
            update(done, total, what)

        report = check(store, show)
        if mend:
            repaired |= repair(
                store,
                report.findings,
                lambda: embedders.for_store(store.embedder, offline=setting.offline, ask=sink.ask),
                wait=not no_wait,
                on_wait=setting.on_wait,
            )
            report = check(store, show)
    document = {"profiles": str(setting.profiles), "ok": report.ok, **asdict(report), "repaired": repaired}
    sink.result(document, lambda: _show(sink, document))
    if any(not finding.remedy for finding in report.findings):
        sink.note("dep check --repair mends what can be computed again")
    return DONE if report.ok else FAILURE


def _show(sink, document: dict) -> None:
    from depcli.cli import layout

    sink.line(f"{document['profiles']}, commit {document['number']} ({document['commit']}), in {document['seconds']:.1f} s")
    wrong: dict[str, int] = {}
    for finding in document["findings"]:
        wrong[finding["what"]] = wrong.get(finding["what"], 0) + finding["count"]
    columns = {"checked": document["checked"], "wrong": wrong, "repaired": document["repaired"]}
    shown = [name for name in columns if name != "repaired" or document["repaired"]]
    parts = dict.fromkeys([*document["checked"], *wrong])
    sink.table(("what", *shown), [(part, *(f"{columns[name].get(part, 0):,}" for name in shown)) for part in parts])
    for finding in document["findings"]:
        sink.line(f"{finding['what']}: {finding['count']:,} {finding['message']}")
        for example in finding["examples"]:  # with ids, which may hold line breaks
            layout.show(sink, example, indent="  ", lines=3)
        if finding["remedy"]:
            sink.line(f"  {finding['remedy']}")
    for note in document["notes"]:
        layout.show(sink, f"note: {note}", lines=3)
