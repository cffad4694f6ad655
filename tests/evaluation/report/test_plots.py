from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from depcli.evaluation.report.plots import Curve, Point, curves, intervals, scale


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (0.1333, 0.1382), (-0.0181, 0.007), (4.4281, 4.4366), (-3.0, 250.0), (0.5, 0.5), (0.0, 0.0), (-2, -2)],
)
def test_an_axis_has_round_steps_around_its_values(low, high):
    first, last, step = scale(low, high)
    assert first <= low + 1e-9 and last >= high - 1e-9 and first < last
    assert 1 <= round((last - first) / step) <= 6 and (last - first) / step == pytest.approx(round((last - first) / step))
    assert f"{step:.0e}"[0] in "1235" and first / step == pytest.approx(round(first / step))


def circles(svg: str) -> list[float]:
    return [float(circle.get("cx")) for circle in ElementTree.fromstring(svg).iter("circle")]


def test_points_lie_in_proportion_and_within_their_intervals():
    svg = intervals([Point("a", 0.1, 0.0, 0.2), Point("b", 0.2, 0.1, 0.4, True), Point("c", 0.4)], title="t", line=0.0)
    a, b, c = circles(svg)
    assert (c - b) == pytest.approx(2 * (b - a), abs=0.3)
    tree = ElementTree.fromstring(svg)
    groups = [group for group in tree.iter("g")]
    assert [group.get("class") for group in groups] == ["point", "point best", "point"]
    for group, at in zip(groups[:2], (a, b), strict=True):
        (line,) = group.iter("line")
        assert float(line.get("x1")) < at < float(line.get("x2"))
    assert not list(groups[2].iter("line")), "without an interval there is none"
    width = float(tree.get("viewBox").split()[2])
    ticks = {text.text: float(text.get("x")) for text in tree.iter("text") if text.get("class") == "tick"}
    (dashed,) = (line for line in tree.iter("line") if line.get("class") == "mark")
    assert float(dashed.get("x1")) == ticks["0"] and all(0 <= x <= width for x in ticks.values())


def test_labels_are_text_and_long_ones_cut():
    svg = intervals([Point("<b>&\"'", 1.0), Point("x" * 99, 2.0)], title="a < b")
    said = ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter("text")]
    assert "<b>&\"'" in said and "x" * 23 + "…" in said
    assert not re.search("<b>", svg) and intervals([], title="") == ""


def test_curves_have_their_points_where_the_axes_say():
    svg = curves(
        [
            Curve("rag", [(0, 1.0, None, None), (4, 3.0, 2.5, 3.5), (8, 2.0, None, None)]),
            Curve("<b>flat", [(0, 2.0, None, None), (8, 2.0, None, None)], 1, dashed=True),
        ],
        title="a title",
        across="K",
    )
    root = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}" if root.tag.startswith("{") else ""
    first, second = root.findall(f"{name}g")
    marks = [(float(c.get("cx")), float(c.get("cy"))) for c in first.findall(f"{name}circle")]
    assert marks[1][0] == pytest.approx((marks[0][0] + marks[2][0]) / 2, abs=0.2)
    assert marks[2][1] == pytest.approx((marks[0][1] + marks[1][1]) / 2, abs=0.2) and marks[1][1] < marks[0][1]
    assert len([line for line in first.findall(f"{name}line") if line.get("class") == "whisker"]) == 1
    assert "dashed" in second.get("class") and "".join(second.find(f"{name}text").itertext()) == "<b>flat"
    assert curves([], title="t", across="x") == "" == curves([Curve("a", [])], title="t", across="x")
    assert "<svg" in curves([Curve("a", [(1, 2.0, None, None)])], title="one point", across="x")
    level = curves(
        [Curve("a", [(1, 2.0, None, None)]), Curve("b", [(1, 3.0, None, None)], 1, dashed=True)], title="t", across="x"
    )
    (left, y), (right, same) = (map(float, point.split(",")) for point in re.findall('points="([^"]*)"', level)[1].split())
    assert right - left > 300 and y == same, "one point of a dashed curve is a level"
