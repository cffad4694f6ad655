"""Plots as inline SVG, from numbers to a string: values with intervals on one axis. Colours come from the page's style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

_WIDTH, _ROW, _RIGHT, _TOP, _BOTTOM = 400, 26, 20, 8, 30  # in pixels of a phone
_LETTER, _CHARACTERS = 8.0, 24  # the width of one, and how many of a label are shown


@dataclass(frozen=True)
class Point:
    """A value with its interval (None: not known). `note` is shown when the mouse rests on it."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    marked: bool = False
    note: str = ""


def intervals(points: Sequence[Point], *, title: str, line: float | None = None, digits: int = 4) -> str:
    """A row for each point, top to bottom; a dashed `line` at a value that matters. '' for no points."""
    if not points:
        return ""
    ends = [end for point in points for end in (point.value, point.low, point.high, line) if end is not None]
    low, high, step = scale(min(ends), max(ends))
    left = 16 + _LETTER * max(len(_clipped(point.label)) for point in points)
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
        said = f"{point.label}: {point.value:.{digits}f}" + (
            f" [{point.low:.{digits}f}, {point.high:.{digits}f}]" if known else ""
        )
        parts.append(f'<g class="point{" best" if point.marked else ""}"><title>{escape(f"{said} {point.note}".strip())}</title>')
        parts.append(f'<text x="{left - 12:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(_clipped(point.label))}</text>')
        if known:
            parts.append(f'<line x1="{x(point.low)}" x2="{x(point.high)}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle cx="{x(point.value)}" cy="{y:.1f}" r="4.5"/></g>')
    return "".join([*parts, "</svg>"])


def scale(low: float, high: float, ticks: int = 4) -> tuple[float, float, float]:
    """(first, last, step) of an axis with round numbers and about so many ticks around low..high."""
    span = high - low or abs(high) or 1.0
    rough = span / (ticks - 1)
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


def _clipped(label: str) -> str:
    return label if len(label) <= _CHARACTERS else label[: _CHARACTERS - 1] + "…"
