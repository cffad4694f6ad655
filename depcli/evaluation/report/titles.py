"""How metrics are called, and how numbers are written, wherever an evaluation is read."""

from __future__ import annotations

from depcli.evaluation.measures import ALIGNMENT, JUDGE

TITLES = {
    "rouge1": "ROUGE-1",
    "rougeL": "ROUGE-L",
    "meteor": "METEOR",
    "bleu": "BLEU",
    "bertscore": "BERTScore",
    ALIGNMENT: "alignment",
    JUDGE: "judge",
    "nll": "NLL/token",
    "length": "length",
    "distinct1": "distinct-1",
    "distinct2": "distinct-2",
}
_DIGITS = {"bleu": 2, JUDGE: 2, "length": 2, "distinct1": 3, "distinct2": 3}
Table = tuple[list[str], list[list[str]]]


def number(value: float | None, metric: str) -> str:
    """A value of a metric; '-' for none."""
    return "-" if value is None else f"{value:.{_DIGITS.get(metric, 4)}f}"


def signed(value: float) -> str:
    return f"{value:+.4f}"


def chance(p: float) -> str:
    """A p value."""
    return "<.0001" if p < 0.0001 else f"{p:.4f}".removeprefix("0") if p < 1 else "1"


def interval(found: dict, digits: int = 4) -> str:
    """The ends of an interval; '-' where there is none."""
    return "-" if found["low"] is None else f"[{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"


def drawn_from(users: int) -> str:
    """What intervals and tests draw, see significance.drawn."""
    return "reviews" if users == 1 else "users"
