"""Text that fits, whatever it is made of."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from depcli.cli import layout
from depcli.cli.sink import Sink

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


NAMES, NUMBERS = (st.from_regex(pattern, fullmatch=True) for pattern in ("[a-d][a-z]{0,11}", "-?[0-9]{1,9}"))
CELLS = st.lists(st.tuples(NAMES, NAMES, *[NUMBERS] * 6), min_size=1, max_size=4)


@given(CELLS, st.integers(40, 100))
def test_a_wide_table_comes_in_parts_that_fit_and_lose_nothing(rows, width):
    columns = ["method", "over", *(f"metric{n}" for n in range(6))]
    found = list(layout.parts(columns, rows, width))
    assert [name for names, _ in found for name in names[2:]] == columns[2:]
    for n, row in enumerate(rows):
        assert [cell for _, cells in found for cell in cells[n][2:]] == list(row[2:])
        assert all(tuple(cells[n][:2]) == row[:2] for _, cells in found)
    for names, cells in found:
        assert sum(max(map(len, column)) for column in zip(names, *cells, strict=True)) + 2 * (len(names) - 1) <= width
    assert list(layout.parts(columns, rows, None)) == [(columns, [list(row) for row in rows])], "in a pipe it stays whole"


def test_a_report_fits_the_terminal_and_is_whole_in_a_pipe(monkeypatch):
    table = (["method", *"abcdefghij"], [["nonperso", *["0.123456"] * 10], ["rag", *["0.654321"] * 10]])

    def shown(terminal: bool, columns: int = 60) -> list[str]:
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        layout.report(Sink(), [table], ["a note"])
        return stream.getvalue().splitlines()

    assert max(map(len, shown(False))) > 100 and shown(False)[:3] == [line for line in shown(False) if line][:3]
    narrow = shown(True)
    assert max(map(len, narrow)) <= 60 and [line.split()[0] for line in narrow if line].count("rag") == 2
    whole = shown(False)
    assert shown(True, len(whole[0])) == whole
    tight = shown(True, len(whole[0]) - 10)
    assert [line.split() for line in tight] == [line.split() for line in whole] and len(tight[1]) == len(whole[1]) - 10


@pytest.mark.parametrize("name", ["u", "u" * 36, "u" * 500, "漢字" * 100])
def test_a_table_fits_however_long_an_id_is(name, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    row = ("2020-05-05", "3", "0.55", name, "word " * 50)
    layout.table(Sink(), ("date", "rating", "differs", "user", "review"), [row], flexible=4)
    assert all(70 < cell_len(line) <= 80 for line in stream.getvalue().splitlines()[1:]) and "  word wo" in stream.getvalue()
