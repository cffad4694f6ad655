"""`dep eval --report FILE.html`: an evaluation as one page that needs nothing else: no network, no script.

Whatever people or models wrote is escaped by the template, and what a browser would obey rather than show is made visible; the
page also forbids itself to load or run anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from depcli import resumable
from depcli.atomic import write_atomically
from depcli.evaluation import predictions as files
from depcli.evaluation import report
from depcli.evaluation.comparing import LOWER_IS_BETTER
from depcli.evaluation.plots import Point, intervals
from depcli.evaluation.scoring import ALIGNMENT
from depcli.resumable import file_errors

REQUESTS = 20
_NORMAL = 1.959964  # an interval of 95 % is this many standard errors to either side
_TEMPLATES = Path(__file__).parent / "templates"
# Controls but newline and tab, marks that turn the writing direction, and halves of characters.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def write_page(path: Path, results: dict, out: Path, snapshot) -> None:
    """Write the page of the evaluation in the folder `out` to `path`, atomically. `snapshot` is the store it was made on: titles
    of items and past reviews come from it. Raises DepError when the file cannot be written."""
    with file_errors(path):
        write_atomically(path, render(results, requests(results, out, snapshot)).encode("utf-8"))


def render(results: dict, shown: Sequence[dict]) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["visible"] = visible
    tables = {name: make(results) for name, make in _TABLES.items()}
    plots = [(title, said, Markup(svg)) for title, said, svg in _plots(results) if svg]
    differences = [(title, said, Markup(svg)) for title, said, svg in _difference_plots(results)]
    swaps = [(title, said, Markup(svg)) for title, said, svg in _swap_plots(results) if svg]
    return environment.get_template("report.html.jinja").render(
        results=results, tables=tables, plots=plots, differences=differences, swaps=swaps, requests=shown,
        notes=report.notes(results), all_differences=report.difference_rows(results["differences"]),
        signatures=report.signatures(results), backbone=_backbone(results["settings"]),
        settings=[(name, json.dumps(value, ensure_ascii=False)) for name, value in results["settings"].items()],
    )  # fmt: skip


def requests(results: dict, out: Path, snapshot) -> list[dict]:
    """The first requests of the first seed, in the order of chance in which targets are taken, as the template needs them."""
    methods, seed = list(results["methods"]), results["seeds"][0]
    scores: dict[str, dict[str, dict]] = {}
    for line in resumable.read_lines(out / files.SCORES):
        if line["seed"] == seed and (line["id"] in scores or len(scores) < REQUESTS):
            scores.setdefault(line["id"], {})[line["method"]] = line
    written = {
        (line["id"], line["method"]): line
        for line in resumable.read_lines(out / files.PREDICTIONS)
        if line["id"] in scores and line["method"] in methods
    }
    lines = [written[key, methods[0]] for key in scores]
    shown = {key: max((written[key, name]["shown"] for name in methods), key=len) for key in scores}
    pairs = {(line["user_id"], asin) for line in lines for asin in (line["asin"], *shown[line["id"]])}
    reviews = snapshot.reviews(sorted(pairs))
    items = snapshot.items(sorted({asin for _, asin in pairs}))
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
                "texts": [
                    {"method": name, "text": written[key, name]["prediction"], "scores": _scores(scores[key][name])}
                    for name in methods
                ],
                "history": [
                    {"item": _title(items, asin), "rating": past.rating, "title": past.title, "text": past.text}
                    for asin in shown[key]
                    if (past := reviews.get((user, asin)))
                ],
            }
        )
    return found


def visible(text: str) -> str:
    """The text with everything escaped that a browser would obey rather than show."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text.replace("\r\n", "\n"))


def _backbone(settings: dict) -> str:
    named = settings["backbone"]
    return str(named.get("name", "")) if isinstance(named, dict) else str(named)


def _title(items: dict, asin: str) -> str:
    return (items[asin].title if asin in items else "") or asin


def _scores(line: dict) -> list[tuple[str, str]]:
    per_token = line["nats"] / line["tokens"] if line["tokens"] else None
    values = {"meteor": line.get("meteor"), ALIGNMENT: line.get(ALIGNMENT), "nll": per_token}
    return [(report.TITLES[metric], report.number(value, metric)) for metric, value in values.items() if value is not None]


def _with_errors(results: dict) -> report.Table:
    """The table with half the width of each 95 % interval over users beside the value."""
    columns, rows = report.table(results)
    metrics = [metric for title in columns for metric, said in report.TITLES.items() if said == title]
    for row, found in zip(rows, results["methods"].values(), strict=True):
        for at, metric in enumerate(metrics, 1):
            half = _half(found, metric)
            row[at] = row[at].strip() if half is None else f"{row[at].strip()} ± {report.number(half, metric)}"
    return columns, rows


def _plots(results: dict):
    """(title, what to know, SVG) of each metric that has intervals."""
    for metric in ("nll", "rouge1", "rougeL", "meteor", "bertscore", ALIGNMENT):
        points = []
        for name, found in results["methods"].items():
            value, half = report.value(found, metric), _half(found, metric)
            if value is not None:
                ends = (None, None) if half is None else (value - half, value + half)
                points.append(Point(name, value, *ends, report.best(results, metric) == name))
        chance = results["real"]["alignment_chance"] if metric == ALIGNMENT else None
        title = report.TITLES[metric] if metric != ALIGNMENT else "difference alignment"
        said = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
        said += "; dashed: chance" if chance is not None else ""
        yield title, said, intervals(points, title=f"{title} of each method, with 95 % intervals over users", line=chance)


def _difference_plots(results: dict):
    told = report.told(results)
    for metric in dict.fromkeys(one["metric"] for one in told):
        points = [
            Point(f"{one['method']} - {one['against']}", one["difference"], one["low"], one["high"], one["significant"])
            for one in told if one["metric"] == metric
        ]  # fmt: skip
        said = "left of 0: the first of the two is better" if metric in LOWER_IS_BETTER else "right of 0: the first is better"
        yield report.TITLES[metric], said, intervals(points, title=f"differences in {report.TITLES[metric]}", line=0.0)


def _swap_plots(results: dict):
    points = [
        Point(row[0] if row[1] == "history" else f"{row[0]}: {row[1]}", one["difference"], one["low"], one["high"], one["clear"])
        for row, one in zip(report.swaps(results)[1], _swapped(results), strict=True)
    ]
    said = "nats per token; left of 0: the method knows something of the person"
    yield "own minus a stranger's", said, intervals(points, title="swap test: own minus stranger, 95 % intervals", line=0.0)


def _swapped(results: dict) -> list[dict]:
    return [one for found in results["methods"].values() for one in found["swap"].values() if one]


def _half(found: dict, metric: str) -> float | None:
    error = report.summary_of(found, metric).get("se_users")
    return None if error is None else _NORMAL * error


_TABLES = {
    "methods": _with_errors, "errors": report.standard_errors, "differences": report.differences, "swaps": report.swaps,
    "costs": report.costs,
}  # fmt: skip
