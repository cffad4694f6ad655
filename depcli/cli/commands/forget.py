"""`dep forget`: people and items out of the store, down to the disk."""

from __future__ import annotations

from dataclasses import asdict

import click

from depcli.cli.options.common import Setting, every_command, no_wait
from depcli.words import count


@click.command("forget")
@click.option("--user", "users", multiple=True, metavar="USER", help="Everything that this user wrote. May be repeated.")
@click.option("--item", "items", multiple=True, metavar="ITEM", help="Everything about this item. May be repeated.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@no_wait
@every_command
def command(setting: Setting, users: tuple[str, ...], items: tuple[str, ...], no_wait: bool) -> None:
    """Erase users or items: their reviews, what these added to the item sums, and every trace in the files of the store.
    Of items that only these users reviewed the title and description go too: read a catalogue in again where they are wanted.

    Earlier commits would still show them, so these go too: --at reaches only what comes after, and `dep eval` needs adapters
    that were trained after it. What this command cannot reach is named: input files, adapters that were trained on these
    people, evaluations, and who is at work on one of these. Interrupted, it is finished by the same command, or by whatever
    writes to the store next.
    Exit code 3 says that one of them is not in the store: erased before, or misspelt, and then nothing was removed.

    \b
    Examples:
      dep forget --user A3SGXH7AUHU8GW
      dep forget --item B00X4WHP5E --item B00YQ6X8EO --yes
    """
    from depcli.actions import forgetting
    from depcli.errors import DepError
    from depcli.profiles import untestable

    if not users and not items:
        raise click.UsageError("say whom or what: --user USER, --item ITEM")
    sink = setting.sink
    plan = forgetting.plan(setting.profiles, tuple(dict.fromkeys(users)), tuple(dict.fromkeys(items)))
    if plan.unfinished:
        sink.note("an earlier erasing was interrupted: it is finished first")
    what = f"{count(plan.reviews, 'review')} by {count(plan.people, 'user')}"
    what += f", {count(len(plan.items), 'item')}" if plan.items else ""
    what += " with the items that nobody else reviewed" if plan.users else ""
    nothing_left = plan.unfinished and not plan.reviews
    if not nothing_left and not sink.ask(f"Erase {what} from {setting.profiles}, and every earlier commit, for good?"):
        raise DepError("nothing was erased", "say yes to the question (--yes where nobody is asked)")
    before = untestable(setting.profiles)
    with sink.progress("writing the store anew"):
        erased, beyond = forgetting.forget(setting.profiles, plan, wait=not no_wait, on_wait=setting.on_wait)
    document = {
        "profiles": str(setting.profiles),
        "users": plan.users,
        "items": plan.items,
        "reviews_removed": erased.reviews,
        "items_removed": erased.items,
        "commits_dropped": erased.commits,
        "finished_earlier": plan.unfinished,
        "untestable_adapters": sorted(untestable(setting.profiles) - before),
        "beyond_reach": asdict(beyond),
    }
    sink.result(document, lambda: _show(sink, document))


_BEYOND = {
    "inputs": ("input", "was read into the store"),
    "adapters": ("adapter", "was trained on them: train it again, or delete it"),
    "adapters_unknown": ("adapter", "does not tell whom it was trained on"),
    "adapters_under_way": ("adapter", "is being trained, perhaps on them: stop it, or train it again"),
    "evaluations": ("evaluation", "holds texts by them or about them"),
    "evaluations_unknown": ("evaluation", "cannot be read"),
    "evaluations_under_way": ("evaluation", "is under way, and ends before its next text"),
}


def _show(sink, document: dict) -> None:
    what = {"reviews_removed": "review", "items_removed": "item", "commits_dropped": "earlier commit"}
    gone = [count(document[kind], noun) for kind, noun in what.items() if document[kind] or noun != "item"]
    sink.line(f"erased: {', '.join(gone[:-1])} and {gone[-1]}")
    if document["untestable_adapters"]:
        sink.line(f"dep eval needs these adapters trained again: {', '.join(document['untestable_adapters'])}")
    rows = [(what, name, why) for kind, (what, why) in _BEYOND.items() for name in document["beyond_reach"][kind]]
    if rows:
        sink.line("beyond reach:")
        sink.table(("what", "name", "why"), rows)
    sink.note("copies elsewhere are beyond reach too: backups, exports, batches of reviews, evaluations made with --out")
