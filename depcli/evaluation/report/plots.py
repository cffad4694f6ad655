"""Plots as inline SVG, from numbers to a string: values with intervals on one axis, and curves. Colours come from the page's
style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

_WIDTH, _ROW, _RIGHT, _TOP, _BOTTOM = 400, 26, 20, 8, 30  # in pixels of a phone
_HEIGHT, _LEGEND = 150, 20  # of the area of curves, and of a line of their legend
_LETTER, _BOLD, _CHARACTERS = 8.0, 9.2, 24  # the width of one, and how many of a label are shown


@dataclass(frozen=True)
class Point:
    """A value with its interval (None: not known)."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    marked: bool = False


def intervals(points: Sequence[Point], *, title: str, line: float | None = None) -> str:
    """A row for each point, top to bottom; a dashed `line` at a value that matters. '' for no points."""
    if not points:
        return ""
    ends = [end for point in points for end in (point.value, point.low, point.high, line) if end is not None]
    low, high, step = scale(min(ends), max(ends))
    left = 16 + max((_BOLD if point.marked else _LETTER) * len(_clipped(point.label)) for point in points)
    bottom = _TOP + _ROW * len(points)
    height = bottom + _BOTTOM

    def x(value: float) -> str:
        return f"{left + (value - low) / (high - low) * (_WIDTH - left - _RIGHT):.1f}"

    view, name = f"0 0 {_WIDTH} {height}", escape(title)
    parts = [f'<svg class="plot" viewBox="{view}" role="img" aria-label="{name}"><title>{name}</title>']
    for i in range(round((high - low) / step) + 1):
        at = low + i * step
        parts.append(f'<line class="grid" x1="{x(at)}" x2="{x(at)}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(at)}" y="{bottom + 18}" text-anchor="middle">{_tick(at, step)}</text>')
    if line is not None:
        parts.append(f'<line class="mark" x1="{x(line)}" x2="{x(line)}" y1="{_TOP}" y2="{bottom}"/>')
    for i, point in enumerate(points):
        y = _TOP + _ROW * (i + 0.5)
        known = point.low is not None and point.high is not None
        said = f"{point.label}: {point.value:.4f}" + (f" [{point.low:.4f}, {point.high:.4f}]" if known else "")
        parts.append(f'<g class="point{" best" if point.marked else ""}"><title>{escape(said)}</title>')
        parts.append(f'<text x="{left - 12:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(_clipped(point.label))}</text>')
        if known:
            parts.append(f'<line x1="{x(point.low)}" x2="{x(point.high)}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle cx="{x(point.value)}" cy="{y:.1f}" r="4.5"/></g>')
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class Curve:
    """Points (x, y, low, high) from left to right, low and high None where there is no interval; `number` is its colour, `dashed`
    for what does not change with x."""

    label: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    number: int = 0
    dashed: bool = False


def curves(found: Sequence[Curve], *, title: str, across: str) -> str:
    """The curves over one horizontal axis, called `across`, with a legend above. '' where nothing has a point."""
    found = [curve for curve in found if curve.points]
    if not found:
        return ""
    values = [end for curve in found for _, *ends in curve.points for end in ends if end is not None]
    places = sorted({point[0] for curve in found for point in curve.points})
    low, high, step = scale(min(values), max(values))
    ticks = round((high - low) / step)
    labels = [_tick(low + i * step, step) for i in range(ticks + 1)]
    left, top = 14 + _LETTER * max(map(len, labels)), _TOP + _LEGEND * len(found) + 6
    bottom = top + _HEIGHT

    def x(value: float) -> str:
        width, span = _WIDTH - left - _RIGHT - 8, places[-1] - places[0]
        return f"{left + 8 + ((value - places[0]) / span if span else 0.5) * width:.1f}"

    def y(value: float) -> str:
        return f"{bottom - (value - low) / (high - low) * _HEIGHT:.1f}"

    name = escape(title)
    parts = [f'<svg class="plot" viewBox="0 0 {_WIDTH} {bottom + 42}" role="img" aria-label="{name}"><title>{name}</title>']
    for i, label in enumerate(labels):
        at = y(low + i * step)
        parts.append(f'<line class="grid" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{float(at) + 4:.1f}" text-anchor="end">{label}</text>')
    for value in places:
        parts.append(f'<text class="tick" x="{x(value)}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    middle = f"{(left + _WIDTH - _RIGHT) / 2:.1f}"
    parts.append(f'<text class="tick" x="{middle}" y="{bottom + 36}" text-anchor="middle">{escape(across)}</text>')
    for row, curve in enumerate(found):
        kind = f"curve c{curve.number % 4}" + (" dashed" if curve.dashed else "")
        at = _TOP + _LEGEND * (row + 0.5)
        parts.append(f'<g class="{kind}"><line x1="{left}" x2="{left + 22}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{left + 30}" y="{at + 4}">{escape(_clipped(curve.label, 2 * _CHARACTERS))}</text>')
        line = " ".join(f"{x(place)},{y(value)}" for place, value, _, _ in curve.points)
        if curve.dashed and len(curve.points) == 1:  # a level, which one point would not show
            line = " ".join(f"{side},{y(curve.points[0][1])}" for side in (left, _WIDTH - _RIGHT))
        parts.append(f'<polyline points="{line}"/>')
        for place, value, lower, upper in curve.points:
            if lower is not None and upper is not None:
                parts.append(f'<line class="whisker" x1="{x(place)}" x2="{x(place)}" y1="{y(lower)}" y2="{y(upper)}"/>')
            said = escape(f"{curve.label}, {across} {place:g}: {value:.4f}")
            radius = 0 if curve.dashed else 4
            parts.append(f'<circle cx="{x(place)}" cy="{y(value)}" r="{radius}"><title>{said}</title></circle>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def scale(low: float, high: float) -> tuple[float, float, float]:
    """(first, last, step) of an axis with round numbers and about four ticks around low..high."""
    span = high - low or abs(high) or 1.0
    rough = span / 3
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = floor(low / step + 1e-9) * step
    last = first
    while last < high - step * 1e-9:
        last += step
    return first, last if last > first else first + step, step


def _tick(value: float, step: float) -> str:
    digits = max(0, -floor(log10(step)) + (1 if f"{step:e}".startswith("2.5") else 0))
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}") if abs(value) > step / 1e6 else "0"


def _clipped(label: str, most: int = _CHARACTERS) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
