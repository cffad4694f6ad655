"""`dep eval --report FILE.html`: an evaluation as one page that needs nothing else: no network, no script.

Whatever people or models wrote is escaped by the template, and what a browser would obey rather than show is made visible; the
page also forbids itself to load or run anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from depcli.chat import clip
from depcli.evaluation import predictions as files
from depcli.evaluation.measures import ALIGNMENT
from depcli.evaluation.report import page_plots, study, tables
from depcli.evaluation.report.notes import notes_of
from depcli.evaluation.report.page_plots import half_width
from depcli.evaluation.report.titles import TITLES, Table, drawn_from, number
from depcli.personal.difference import Peers, key_of
from depcli.personal.history import moment_text
from depcli.system.atomic import write_atomically
from depcli.system.resumable import file_errors
from depcli.words import count, visible

REQUESTS = 20
_TEMPLATES = Path(__file__).parent
_SHORT = 80  # characters of a description that stand for a title


def write_page(path: Path, results: dict, out: Path, snapshot) -> None:
    """Write the page of the evaluation in the folder `out` to `path`, atomically. `snapshot` is the store it was made on: titles
    of items and past reviews come from it. Raises DepError when the file cannot be written, NotFound when somebody was forgotten
    meanwhile."""
    page = render(results, requests(results, out, snapshot))
    snapshot.check_nobody_forgotten()
    with file_errors(path):
        write_atomically(path, page.encode("utf-8"))


def render(results: dict, shown: Sequence[dict]) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["visible"], environment.globals["count"] = visible, count
    plots = {name: [(title, said, Markup(svg)) for title, said, svg in make(results) if svg] for name, make in _PLOTS.items()}
    return environment.get_template("page.html.jinja").render(
        results=results,
        tables={name: make(results) for name, make in _TABLES.items()},
        plots=plots,
        requests=shown,
        notes=notes_of(results),
        all_differences=tables.difference_rows(results["differences"], results["targets"]),
        signatures=tables.signatures(results),
        backbone=results["settings"]["backbone"]["name"],
        settings=settings_rows(results["settings"]),
        made=_day(results["created"]),
        over=drawn_from(results["users"]),
    )


def settings_rows(settings: dict) -> list[tuple[str, str]]:
    """(name, value) of every setting, nested ones by their path, in words and never as JSON. What is the same for all
    entries of an object is told once."""
    rows: dict[str, str] = {}
    for path, value in _leaves(settings, ()):
        if path[-1:] == ("best_epoch",):  # counted from 0 there; the training curves name the epoch that was kept, from 1
            continue
        names = [name.replace("_", " ") for name in path]
        rows[" · ".join(names)] = moment_text(value) if path[-1:] == ("as_of",) and value is not None else _said(value)
    return list(rows.items())


def _leaves(value, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    entries = list(value.items())
    if len(entries) > 1 and all(isinstance(entry, dict) and entry == entries[0][1] for _, entry in entries):
        entries = [(", ".join(name for name, _ in entries), entries[0][1])]
    for name, entry in entries:
        yield from _leaves(entry, (*path, name))


def _said(value) -> str:
    if value is None or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "–"
    return str(value)


def _day(created: str) -> str:
    """A time as people read it: 21 November 2026, 18:05 UTC."""
    moment = datetime.fromisoformat(created)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def requests(results: dict, out: Path, snapshot) -> list[dict]:
    """The first requests of the first seed, in the order of chance in which targets are taken, as the template needs them."""
    methods, seed = list(results["methods"]), results["seeds"][0]
    scores: dict[str, dict[str, dict]] = {}
    for line in files.read(out / files.SCORES):
        if line["seed"] == seed and (line["id"] in scores or len(scores) < REQUESTS):
            scores.setdefault(line["id"], {})[line["method"]] = line
    written = {
        (line["id"], line["method"]): line
        for line in files.read(out / files.PREDICTIONS)
        if line["id"] in scores and line["method"] in methods
    }
    lines = [written[key, methods[0]] for key in scores]
    shown = {key: max((written[key, name]["shown"] for name in methods), key=len) for key in scores}
    pairs = {(line["user_id"], asin) for line in lines for asin in (line["asin"], *shown[line["id"]])}
    reviews = snapshot.reviews(sorted(pairs))
    items = snapshot.items(sorted({asin for _, asin in pairs}))
    apart = _apart(snapshot, pairs)
    found = []
    for line in lines:
        user, key = line["user_id"], line["id"]
        real = reviews.get((user, line["asin"]))
        found.append(
            {
                "user": user,
                "item": _title(items, line["asin"]),
                "rating": real and real.rating,
                "title": real.title if real else "",
                "real": line["reference"],
                "apart": apart.get((user, line["asin"]), ""),
                "texts": [
                    {"method": name, "text": written[key, name]["prediction"], "scores": _scores(scores[key][name])}
                    for name in methods
                ],
                "history": [
                    {
                        "item": _title(items, asin),
                        "rating": past.rating,
                        "title": past.title,
                        "text": past.text,
                        "apart": apart.get((user, asin), ""),
                    }
                    for asin in shown[key]
                    if (past := reviews.get((user, asin)))
                ],
            }
        )
    return found


def _apart(snapshot, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """How far these reviews (user_id, asin) are from what everybody else wrote about their items; those nobody else reviewed are
    absent."""
    histories = snapshot.histories(sorted({user for user, _ in pairs})).values()
    entries = [entry for history in histories for entry in history if key_of(entry) in pairs]
    return {
        key_of(entry): f"{np.linalg.norm(difference):.2f} from the mean of {count(peers, 'other review')} of it"
        for entry, (difference, peers) in zip(entries, Peers(snapshot).differences(entries), strict=True)
        if difference is not None
    }


def _title(items: dict, asin: str) -> str:
    """What a person knows an item by."""
    item = items.get(asin)
    return (item and (item.title or clip(item.description, _SHORT))) or asin


def _scores(line: dict) -> list[tuple[str, str]]:
    per_token = line["nats"] / line["tokens"] if line["tokens"] else None
    values = {"meteor": line.get("meteor"), ALIGNMENT: line.get(ALIGNMENT), "nll": per_token}
    return [(TITLES[metric], number(value, metric)) for metric, value in values.items() if value is not None]


def _with_errors(results: dict) -> Table:
    """The table with half the width of each 95 % interval below the value; what has none, and is not tested, apart."""
    columns, rows = tables.table(results)
    metrics = [metric for title in columns for metric, said in TITLES.items() if said == title]
    for row, found in zip(rows, results["methods"].values(), strict=True):
        for at, metric in enumerate(metrics, 1):
            half = half_width(tables.summary_of(found, metric))
            row[at] = row[at].strip() if half is None else f"{row[at].strip()}\n±{number(half, metric)}"
    return columns, rows


_PLOTS = {
    "methods": page_plots.methods,
    "over_history": page_plots.over_history,
    "groups": page_plots.groups,
    "differences": page_plots.differences,
    "swaps": page_plots.swaps,
    "training": page_plots.training,
}
_TABLES = {
    "groups": study.groups,
    "between": study.between,
    "methods": _with_errors,
    "errors": tables.standard_errors,
    "differences": tables.differences,
    "swaps": tables.swaps,
    "costs": tables.costs,
}
