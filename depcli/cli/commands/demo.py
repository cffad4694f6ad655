"""`dep demo`: all of it in minutes, on a made-up world."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from depcli.cli.options.common import Setting, every_command

_NAMES = {"nonperso": "Non-Perso", "rag": "RAG", "dep": "DEP"}


@click.command("demo")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="PATH", help="[default: demo in the store folder]")
@click.option("--embedder", metavar="NAME", help="[default: minilm where it is installed]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, another review.")
@every_command
def command(setting: Setting, folder: Path | None, embedder: str | None, seed: int) -> None:
    """See all of it in minutes, on a made-up world: thirty people with habits, forty things, no network.

    Their reviews go into a store of its own, an adapter is trained, and one review that nobody learned from is written three
    ways: knowing only the item (Non-Perso), with past reviews as text (RAG), and with soft tokens besides (DEP).

    \b
    Examples:
      dep demo
      dep demo --dir /tmp/demo --seed 1
    """
    from depcli.cli.commands.train import show_event
    from depcli.demo.run import run

    sink = setting.sink
    profiles = folder or setting.profiles / "demo"
    with sink.progress("demo") as update:

        def show(event: dict) -> None:
            if "part" in event:
                sink.note(event["part"])
                update(0, detail="")
            elif "reviews_done" in event:
                update(event["reviews_done"], detail="reviews embedded")
            elif "held_up" not in event:  # the demo is not gone on with
                show_event(sink, update, event)

        report = run(profiles, embedder=embedder, seed=seed, offline=setting.offline, on_event=show)
    document = {
        "profiles": str(report.profiles),
        "seed": report.seed,
        "user_id": report.request.user_id,
        "item": asdict(report.request.item),
        "rating": report.request.rating,
        "title": report.request.title,
        "real": report.real,
        "written": report.written,
        "losses": report.losses,
        "behind_dep": {name: asdict(interval) for name, interval in report.behind_dep.items()},
        "train": {key: getattr(report.trained, key) for key in ("train_reviews", "parameters", "seconds")},
    }
    sink.result(document, lambda: _show(sink, document))


def _show(sink, document: dict) -> None:
    sink.line()
    sink.heading(f'{document["user_id"]} on "{document["item"]["title"]}", {document["rating"]:g} of 5')
    texts = {"what they really wrote": document["real"], **{_NAMES[key]: text for key, text in document["written"].items()}}
    for name, text in texts.items():
        sink.line()
        sink.heading(name)
        sink.line(text)
    sink.line()
    behind = document["behind_dep"]
    reviews = next(iter(behind.values()))["requests"]
    sink.heading(f"Loss per token (nats) of {reviews} real reviews that nobody learned from, lower is better")
    sink.table(
        ("method", "loss", "behind DEP", "95 % interval"),
        [
            (_NAMES[key], f"{loss:.3f}", *(_interval(behind[key]) if key in behind else ("", "")))
            for key, loss in document["losses"].items()
        ],
    )
    sink.line()
    sink.line("mini is small enough to come along and too small to write well; most of DEP's lead is tuning to the task.")
    profiles = document["profiles"]
    sink.note("next, in the same world, or with your own reviews:")
    sink.note(f"  dep write --profiles {profiles} --user nana_petrov --item film-01 --rating 5")
    sink.note("  dep ingest YOUR_REVIEWS.jsonl --items YOUR_ITEMS.jsonl && dep train && dep eval")


def _interval(found: dict) -> tuple[str, str]:
    return f"{found['difference']:+.3f}", f"{found['low']:+.3f} to {found['high']:+.3f}"
