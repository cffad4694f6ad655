"""`dep show`: who and what is in the store, and what it knows of a user or an item."""

from __future__ import annotations

from collections import Counter

import click

from depcli.cli.options.analyst import PROFILED, show_profile
from depcli.cli.options.common import MethodChoice, Setting, at_commit, every_command
from depcli.cli.options.moment import as_of_moment, tell_moment
from depcli.words import count

_LINES = 6  # of a text that is shown; --json has all of it


@click.command("show")
@click.option("--user", metavar="ID", help="A user: history, how unusual, where they differ most from others.")
@click.option("--item", metavar="ID", help="An item: description, ratings, reviewers.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="Lines of a list.")
@click.option(
    "--most",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="N",
    help="So many of the reviews that differ most, each beside the nearest and the farthest peer's.",
)
@click.option("--profile", type=MethodChoice(PROFILED), help="With --user: what this method has made of them so far, instead.")
@click.option("--vectors", is_flag=True, help="With --json: the vector of each review, and its difference from the peers.")
@as_of_moment
@at_commit
@every_command
def command(
    setting: Setting,
    user: str | None,
    item: str | None,
    limit: int,
    most: int,
    profile: str | None,
    vectors: bool,
    at: str | None,
    as_of: float | None,
) -> None:
    """Show who and what is there, or a user, or an item. Peers are the others who reviewed the same item.

    "differs" is the distance between a review's vector and the mean of its peers' (0: the same; above 1: far): what DEP
    gives the model besides the text. --json has all of every list, whatever --limit says.

    \b
    Examples:
      dep show
      dep show --user rt_00000c4be36866a5
      dep show --user U --most 10 --limit 0
      dep show --item rt_1986 --json
      dep show --user U --profile drp
    """
    from depcli.actions import portraits
    from depcli.store import Store

    if user is not None and item is not None:
        raise click.UsageError("name either --user or --item")
    if vectors and user is None and item is None:
        raise click.UsageError("--vectors needs --user or --item")
    if vectors and not setting.sink.is_json:
        raise click.UsageError("--vectors needs --json")
    if profile and user is None:
        raise click.UsageError("--profile needs --user")
    snapshot = Store.open(setting.profiles).snapshot(at, as_of=as_of)
    tell_moment(setting.sink, as_of)
    if profile:
        document = portraits.profiles_of(setting.profiles, snapshot, user, profile)
        setting.sink.result(document, lambda: show_profile(setting.sink, document))
    elif user is not None:
        document = portraits.of_user(snapshot, user, most=most, vectors=vectors)
        setting.sink.result(document, lambda: _show_user(setting.sink, document, limit))
    elif item is not None:
        document = portraits.of_item(snapshot, item, vectors=vectors)
        setting.sink.result(document, lambda: _show_item(setting.sink, document, limit, most))
    else:
        document = portraits.of_store(snapshot)
        setting.sink.result(document, lambda: _show_store(setting.sink, document, limit))


def _show_store(sink, document: dict, limit: int) -> None:
    from depcli.cli import layout

    def show(what: str, key: str, entries: list[dict]) -> None:
        shown = entries[:limit]
        sink.heading(f"{what} ({len(shown):,} of {len(entries):,}, those with the most reviews)" if entries[limit:] else what)
        titled = any(entry.get("title") for entry in shown)
        rows = [(f"{entry['reviews']:,}", entry[key], entry.get("title", ""))[: 2 + titled] for entry in shown]
        if rows:
            layout.table(sink, ("reviews", "id", "title")[: 2 + titled], rows, flexible=1 + titled)

    show("Users", "user_id", document["users"])
    sink.line()
    show("Items", "asin", document["items"])


def _show_user(sink, document: dict, limit: int) -> None:
    from depcli.cli import layout

    sink.heading(layout.one_line(document["user_id"], layout.WIDTH))
    sink.line(_summary(document))
    layout.show(sink, _unusual(document["unusual"]), lines=3)
    history = document["history"]
    if limit:
        sink.line()
        _heading(sink, "History", limit, len(history))
        titled = any(past["item_title"] for past in history)
        rows = [
            (
                layout.day(past["timestamp"]),
                _number(past["rating"], "g"),
                f"{past['peers']:,}",
                _number(past["difference"]),
                past["asin"],
                past["item_title"] if titled else past["text"],
            )
            for past in history[: -limit - 1 : -1]
        ]
        columns = ("date", "rating", "peers", "differs", "item", "title" if titled else "review")
        layout.table(sink, columns, rows, flexible=5)
    if document["most_different"]:
        sink.line()
        sink.heading("Where they differ most from others")
    for number, entry in enumerate(document["most_different"], 1):
        sink.line()
        layout.show(sink, f"{number}. {_named(entry['item_title'], entry['asin'])}", lines=2)
        near, far, peers = entry["nearest"], entry["farthest"], entry["peers"]
        _tell(sink, f"this user, {entry['difference']:.2f} from the mean of {count(peers, 'peer')}", entry)
        _tell(sink, f"{near['user_id']}, {'the nearest' if peers > 1 else 'the only'} peer (cosine {near['cosine']:.2f})", near)
        if peers > 1:
            _tell(sink, f"{far['user_id']}, the farthest peer (cosine {far['cosine']:.2f})", far)


def _show_item(sink, document: dict, limit: int, most: int) -> None:
    from depcli.cli import layout

    sink.heading(layout.one_line(document["title"] or document["asin"], layout.WIDTH))
    for text, lines in (
        (document["asin"] if document["title"] else "", 2),
        (document["task"], 2),
        (document["description"], _LINES),
    ):
        layout.show(sink, text, lines=lines)
    sink.line(_summary(document))
    if not document["reviews"]:
        return
    if document["ratings"]:
        sink.line()
        sink.heading("Ratings")
        for label, count in _bars(document["ratings"]["counts"]):
            sink.line(f"{label:>6} {'#' * round(40 * count / document['ratings']['rated']):<40} {count:,}".rstrip())
    reviewers = document["reviewers"]
    if limit:
        sink.line()
        _heading(sink, "Reviews", limit, len(reviewers))
        rows = [
            (
                layout.day(review["timestamp"]),
                _number(review["rating"], "g"),
                _number(review["difference"]),
                review["user_id"],
                review["title"] or review["text"],
            )
            for review in reviewers[: -limit - 1 : -1]
        ]
        layout.table(sink, ("date", "rating", "differs", "user", "review"), rows, flexible=4)
    differing = sorted(
        (review for review in reviewers if review["difference"] is not None), key=lambda review: review["difference"]
    )
    for title, chosen in (("Most like the others", differing[:1]), ("Least like the others", differing[:0:-1])):
        for number, review in enumerate(chosen[:most]):
            sink.line()
            if not number:
                sink.heading(title)
            _tell(sink, f"{review['user_id']}, {review['difference']:.2f} from the mean of the others", review)


def _summary(document: dict) -> str:
    """Reviews, their dates and their ratings."""
    from depcli.cli.layout import day

    said = [count(document["reviews"], "review")]
    if document["first"] is not None:
        first, last = day(document["first"]), day(document["last"])
        said.append(first if first == last else f"{first} to {last}")
    ratings = document["ratings"]
    if ratings:
        said.append(f"mean rating {ratings['mean']:.2f}, spread {ratings['deviation']:.2f}")
    return "; ".join(said)


def _unusual(unusual: dict) -> str:
    """Where the user stands among all users, in words."""
    if unusual["percentile"] is None:
        return "no other user to compare with"
    said = f"more unusual than {unusual['percentile']:.0f} % of the {count(unusual['others'], 'other user')}"
    if unusual["among_similar"] is not None:
        said += f"; than {unusual['among_similar']:.0f} % of the {unusual['similar']:,} who wrote about as many reviews"
    return said


def _tell(sink, who: str, review: dict) -> None:
    """One review under a line on who wrote it."""
    from depcli.cli import layout

    rating = "" if review["rating"] is None else f", rated {review['rating']:g}"
    layout.show(sink, who + rating, indent="   ", lines=2)
    title = f"{review['title']}: " if review["title"] else ""
    layout.show(sink, title + review["text"], indent="     ", lines=_LINES)


def _bars(counts: dict[str, int]) -> list[tuple[str, int]]:
    """(rating, how many), highest first; more than eleven different ratings are rounded to whole numbers."""
    if len(counts) > 11:
        rounded: Counter = Counter()
        for rating, count in counts.items():
            rounded[f"{float(rating):.0f}"] += count
        counts = rounded
    return sorted(counts.items(), key=lambda entry: -float(entry[0]))


def _heading(sink, what: str, shown: int, there: int) -> None:
    sink.heading(what if shown >= there else f"{what} (the newest {shown:,} of {there:,})")


def _named(title: str, asin: str) -> str:
    return f"{title} ({asin})" if title else asin


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)
