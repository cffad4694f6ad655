"""Text that fits, whatever it is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from depcli.cli import layout

WORDS = st.text(st.sampled_from("ab é漢🎬\t\n\x1b\u202e\u0301\u200d\u2028\ud800"), max_size=60)


@given(WORDS, st.integers(20, 80), st.integers(1, 4))
def test_lines_fit_and_hold_nothing_that_a_terminal_obeys(text, width, lines):
    found = layout.paragraph(text, width, indent="  ", lines=lines)
    assert len(found) <= lines
    for line in found:
        assert cell_len(line) <= width and line.startswith("  ") and not set(line) & set("\t\n\x1b\u202e\u2028\ud800")


@given(WORDS)
def test_a_text_that_fits_is_whole(text):
    shown = "".join(layout.paragraph(text, 80, lines=20)).replace(" ", "")
    assert shown == "".join(layout.visible(word) for word in text.split())


def test_words_are_wrapped_and_long_texts_end_in_dots():
    assert layout.paragraph("one two three four", 11, lines=5) == ["one two", "three four"]
    assert layout.paragraph("one two three four", 11, lines=1) == ["one two..."]
    assert layout.paragraph("x" * 25, 10, lines=2) == ["x" * 10, "x" * 7 + "..."]
    assert layout.paragraph("漢字漢字漢字", 5, lines=3) == ["漢字", "漢字", "漢字"]
    assert layout.one_line("word " * 1_000_000, 20) == "word word word wo..."
    assert layout.one_line("", 20) == "" == layout.one_line(" \n ", 20)


@pytest.mark.parametrize(
    ("timestamp", "day"),
    [(None, "-"), (0.0, "1970-01-01"), (-86400.0, "1969-12-31"), (1.5e9, "2017-07-14"), (1e18, "-"), (-1e15, "-")],
)
def test_days(timestamp, day):
    assert layout.day(timestamp) == day


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (156_300_000, "156.3 MB"), (2e9, "2.0 GB")]
)
def test_sizes(number, text):
    assert layout.size(number) == text
