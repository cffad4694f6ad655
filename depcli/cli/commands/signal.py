"""`dep signal`: how well the vectors tell users apart."""

from __future__ import annotations

from dataclasses import asdict

import click

from depcli.cli.options.common import Setting, at_commit, every_command, may_download
from depcli.cli.options.moment import as_of_moment, tell_moment

_COLUMNS = (
    "of: vectors of reviews (his), or their differences from the mean of the peers (diff)",
    "K: reviews before the held-out one that make a profile (their mean)",
    "AUC: how often an author's profile is nearer to the held-out review than a stranger's; 0.5 is guessing",
    "same item: how often the held-out review is nearer to the author's profile than a stranger's review of that item",
    "top-1: how often no profile at all is nearer than the author's; chance: the same by guessing",
)


@click.command("signal")
@click.option(
    "--embedder",
    "names",
    multiple=True,
    metavar="NAME",
    help="As of dep ingest; several times to compare. Another than the store's embeds the texts anew. [default: the store's]",
)
@click.option("--limit", type=click.IntRange(min=2), default=2000, show_default=True, metavar="N", help="So many users at most.")
@click.option(
    "--min-peers", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="No diff over fewer peers."
)
@as_of_moment
@at_commit
@may_download
@every_command
def command(setting: Setting, names: tuple[str, ...], limit: int, min_peers: int, as_of: float | None, at: str | None) -> None:
    """Measure how well the vectors tell users apart, before any training: what vectors do not know, no adapter can learn.

    The last review of each user with four or more is held out; a profile is the mean of the K vectors before it, of the reviews
    (his) or of their differences from the peers (diff). AUC: how often the author's profile is nearer to the held-out review than
    a stranger's profile. same item: how often the held-out review is nearer to the author's profile than a stranger's review of
    the same item, where a shared topic does not help. 0.5 is guessing. top-1: how often no profile is nearer than the author's.

    \b
    Examples:
      dep signal
      dep signal --embedder minilm --embedder bge-m3 --limit 200
      dep signal --as-of 2009-05-31 --json
    """
    from depcli import embedders
    from depcli.evaluation import signal
    from depcli.evaluation.reembedded import Reembedded, reviews_to_embed
    from depcli.store import Store

    sink = setting.sink
    snapshot = Store.open(setting.profiles).snapshot(at, as_of=as_of)
    chosen = {name: None for name in names or (snapshot.embedder.name,)}
    for name in chosen.keys() - {snapshot.embedder.name}:
        chosen[name] = embedders.load(name, offline=setting.offline, ask=sink.ask)
    tell_moment(sink, as_of)
    targets = signal.held_out_reviews(snapshot, limit)
    measured = []
    for embedder in chosen.values():
        source, identity = snapshot, snapshot.embedder
        with sink.progress("measuring", "texts" if embedder else "users") as update:
            if embedder:
                identity, reviews = embedder.identity, reviews_to_embed(snapshot, [target.user_id for target in targets])
                sink.note(f"embedding up to {reviews:,} texts with {identity}, which takes time; not kept")
                source = Reembedded(snapshot, embedder, lambda done, update=update, reviews=reviews: update(done, reviews))
            kinds = signal.measure(source, targets, min_peers=min_peers, on_progress=(lambda *_: None) if embedder else update)
        measured.append({**asdict(identity), "embedded": source.texts if embedder else 0, **kinds})
    document = {
        "profiles": str(setting.profiles),
        "store_commit": snapshot.commit.id,
        "as_of": as_of,
        "min_peers": min_peers,
        "users": len(targets),
        "resamples": signal.RESAMPLES,
        "confidence": signal.CONFIDENCE,
        "embedders": measured,
    }
    sink.result(document, lambda: _show(sink, document))


def _show(sink, document: dict) -> None:
    from depcli.cli import layout
    from depcli.evaluation.report.notes import few_users

    rows = [
        (
            found["name"],
            kind,
            str(row["k"]),
            f"{found[kind]['users']:,}",
            *_rate(row, "auc", "low", "high"),
            *_rate(row, "same_item", "same_low", "same_high"),
            _percent(row["top1"]),
            _percent(found[kind]["chance"]),
        )
        for found in document["embedders"]
        for kind in ("his", "diff")
        for row in found[kind]["last"]
    ]
    interval = f"{document['confidence']:.0%}"
    columns = ("embedder", "of", "K", "users", "AUC", interval, "same item", interval, "top-1", "chance")
    counted = [found[kind]["users"] for found in document["embedders"] for kind in ("his", "diff")]
    fewest = min((users for users in counted if users > 1), default=document["users"])  # of one or none there is no interval
    layout.report(sink, [(columns, rows)], (*_COLUMNS, *few_users(fewest)))


def _rate(row: dict, value: str, low: str, high: str) -> tuple[str, str]:
    if row[value] is None:
        return "-", "-"
    return f"{row[value]:.3f}", f"{row[low]:.3f}-{row[high]:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
