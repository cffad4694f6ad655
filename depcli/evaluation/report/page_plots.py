"""The plots of the page: from the results of an evaluation to (title, what to know, SVG)."""

from __future__ import annotations

from collections.abc import Iterator

from depcli.evaluation.measures import ALIGNMENT, JUDGE
from depcli.evaluation.report import tables
from depcli.evaluation.report.plots import Curve, Point, curves, intervals
from depcli.evaluation.report.titles import TITLES, drawn_from
from depcli.evaluation.statistics.comparing import LOWER_IS_BETTER

PLOTTED = ("nll", "rouge1", "rougeL", "meteor", "bleu", "bertscore", ALIGNMENT, JUDGE)
_NORMAL = 1.959964  # an interval of 95 % is this many standard errors to either side
_OF_CURVES = ("nll", "meteor", "bertscore", ALIGNMENT, JUDGE)
Plot = tuple[str, str, str]


def half_width(summary: dict) -> float | None:
    """Half the width of the 95 % interval over users (or what is drawn) of one summary."""
    error = summary.get("se_users")
    return None if error is None else _NORMAL * error


def methods(results: dict) -> Iterator[Plot]:
    """Each metric that has intervals, a row for each method."""
    for metric in PLOTTED:
        points = []
        for name, found in results["methods"].items():
            value, half = tables.value(found, metric), half_width(tables.summary_of(found, metric))
            if value is not None:
                ends = (None, None) if half is None else (value - half, value + half)
                points.append(Point(name, value, *ends, tables.best(results, metric) == name))
        line, called = _reference(results, metric)
        said = _direction(metric) + ("" if line is None else f"; dashed: {called}")
        title = f"{_title(metric)} of each method, with 95 % intervals over {drawn_from(results['users'])}"
        svg = intervals(points, title=title, line=line)
        yield _title(metric), said, svg


def _reference(results: dict, metric: str) -> tuple[float | None, str]:
    """What a metric is beside which one knows what it is worth, and how that is called. Others' reviews are none where only some
    targets have one."""
    if metric == JUDGE:
        others = results["real"]["judge_others"] or {}
        return others.get("value") if others.get("targets") == results["targets"] else None, "what others really wrote"
    return results["real"]["alignment_chance"] if metric == ALIGNMENT else None, "chance"


def differences(results: dict) -> Iterator[Plot]:
    """The differences that are told, a plot for each metric."""
    told = tables.told(results)
    for metric in dict.fromkeys(one["metric"] for one in told):
        points = [
            Point(f"{one['method']} - {one['against']}", one["difference"], one["low"], one["high"], one["significant"])
            for one in told
            if one["metric"] == metric
        ]
        said = "left of 0: the first of the two is better" if metric in LOWER_IS_BETTER else "right of 0: the first is better"
        yield TITLES[metric], said, intervals(points, title=f"differences in {TITLES[metric]}", line=0.0)


def swaps(results: dict) -> Iterator[Plot]:
    """The swap test in one plot."""
    found = [one for method in results["methods"].values() for one in method["swap"].values() if one]
    points = [
        Point(row[0] if row[1] == "history" else f"{row[0]}: {row[1]}", one["difference"], one["low"], one["high"], one["clear"])
        for row, one in zip(tables.swaps(results)[1], found, strict=True)
    ]
    said = "nats per token; left of 0: the method knows something of the person"
    yield "own minus a stranger's", said, intervals(points, title="swap test: own minus stranger, 95 % intervals", line=0.0)


def over_history(results: dict) -> Iterator[Plot]:
    """For the study of K a curve for each method; nothing for other studies."""
    study = results["study"] or {"name": "", "variants": {}}
    if study["name"] != "k":
        return
    by_method: dict[str, list[tuple[str, int]]] = {}
    for label, row in study["variants"].items():
        by_method.setdefault(row["method"], []).append((label, row["history"]))
    for metric in _OF_CURVES:
        found = []
        for number, (method, labels) in enumerate(by_method.items()):
            points = []
            for label, k in sorted(labels, key=lambda pair: pair[1]):
                summary = tables.summary_of(results["methods"][label], metric)
                value, half = tables.value(results["methods"][label], metric), half_width(summary)
                if value is not None:
                    points.append((k, value, *((None, None) if half is None else (value - half, value + half))))
            found.append(Curve(method, points, number))
        svg = curves(found, title=f"K curve: {_title(metric)} over the past reviews shown", across="past reviews shown (K)")
        yield _title(metric), f"{_direction(metric)}; bars: 95 % over {drawn_from(results['users'])}", svg


def groups(results: dict) -> Iterator[Plot]:
    """The methods in each group of users, a plot for each metric."""
    parts = (results["groups"] or {"parts": []})["parts"]
    for metric in _OF_CURVES if parts else ():
        points = []
        for name in results["methods"]:
            for part in parts:
                summary = part["methods"][name].get(metric, {"value": None})
                if summary["value"] is not None:
                    half = half_width(summary)
                    ends = (None, None) if half is None else (summary["value"] - half, summary["value"] + half)
                    points.append(Point(f"{name}, {part['name']}", summary["value"], *ends, part is parts[0]))
        svg = intervals(points, title=f"{_title(metric)} of {' and '.join(part['name'] for part in parts)} users")
        yield _title(metric), f"{_direction(metric)}; coloured: {parts[0]['name']} users", svg


def training(results: dict) -> Iterator[Plot]:
    """The validation losses of each adapter, epoch by epoch, beside text alone."""
    seen = set()
    for label, found in results["training"].items():
        epochs = [(one["epoch"] + 1, one["loss"], None, None) for one in found["epochs"]]
        if not epochs or found["adapter"] in seen:
            continue
        seen.add(found["adapter"])
        ends = (epochs[0][0], epochs[-1][0])
        flat = [
            Curve(f"{name}, no training", [(x, loss, None, None) for x in dict.fromkeys(ends)], number + 1, dashed=True)
            for number, (name, loss) in enumerate(found["text_alone"].items())
        ]
        title = f"{label}: adapter {found['adapter']}" if label != found["adapter"] else label
        svg = curves([Curve(label, epochs), *flat], title=f"validation loss of {found['adapter']}", across="epoch")
        yield title, f"validation loss, nats per token; kept: epoch {found['best_epoch'] + 1}", svg


def _title(metric: str) -> str:
    return "difference alignment" if metric == ALIGNMENT else TITLES[metric]


def _direction(metric: str) -> str:
    return "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
