"""User text made to fit a terminal of 80 columns: shortened and wrapped by the width that it has there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from depcli.cli.sink import NUMBER, Sink, width_of
from depcli.words import count, visible

WIDTH = 80
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # columns, rows
_CUT = "..."
_GAP = 2  # columns of a terminal between those of a table
_LEAST = 10  # of them for a text that is shortened


def one_line(text: str, width: int) -> str:
    """The text in one line of at most `width` columns, with visible control characters; a longer one ends in dots."""
    return (paragraph(text, width, lines=1) or [""])[0]


def paragraph(text: str, width: int = WIDTH, *, indent: str = "", lines: int) -> list[str]:
    """The text wrapped into at most so many lines of `width` columns; a longer one ends in dots."""
    room, wrapped = width - len(indent), [""]
    for word in _words(text, 8 * room * lines):  # 8: a character that takes no column comes with one that does
        for piece in _pieces(word, room):
            joined = f"{wrapped[-1]} {piece}" if wrapped[-1] else piece
            if width_of(joined) <= room:
                wrapped[-1] = joined
            elif len(wrapped) < lines:
                wrapped.append(piece)
            else:
                wrapped[-1] = _cut(joined, room - len(_CUT)).rstrip() + _CUT
                return [indent + line for line in wrapped]
    return [indent + line for line in wrapped if line]


def show(sink: Sink, text: str, *, indent: str = "", lines: int) -> None:
    """The text as a paragraph of the result."""
    for line in paragraph(text, indent=indent, lines=lines):
        sink.line(line)


def table(sink: Sink, columns: Sequence[str], rows: Sequence[Sequence[str]], *, flexible: int) -> None:
    """A table that fits: the cells of the column number `flexible` are shortened for it."""
    rows = [[one_line(cell, WIDTH) for cell in row] for row in rows]
    widths = _widths(columns, rows)
    others = [i for i in range(len(columns)) if i != flexible]
    room, least = WIDTH - sum(widths[i] + _GAP for i in others), max(len(columns[flexible]), _LEAST)
    if room < least:  # the id of somebody or something, which may be as long as it likes
        widest = max(others, key=widths.__getitem__)
        widths[widest] = max(len(columns[widest]), _LEAST, widths[widest] - (least - room))
    widths[flexible] = max(room, least)
    sink.table(columns, [[one_line(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows])


def report(sink: Sink, tables: Iterable[Table], notes: Iterable[str]) -> None:
    """Tables (columns, rows) with a line between them, and below them what is to be known about them. What is wider than the
    terminal moves together, or comes in parts."""
    for whole in tables:
        together = sum(widths := _widths(*whole)) + len(widths) - 1
        tight = sink.width is not None and together <= sink.width < together + (len(widths) - 1) * (_GAP - 1)
        for columns, rows in [whole] if tight else parts(*whole, sink.width):
            sink.table(columns, rows, gap=1 if tight else _GAP)
            sink.line()
    for note in notes:
        sink.line(note)


def parts(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[Table]:
    """The table in parts of at most `width`, each with the columns that say what a row is (those before the first numbers)."""
    widths = _widths(columns, rows)
    numbers = [all(NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(columns))]
    keys = numbers.index(True) if True in numbers else 1
    taken, room = [], 0
    for i in range(keys, len(columns)):
        if taken and width is not None and widths[i] + _GAP > room:
            yield _chosen(columns, rows, keys, taken)
            taken = []
        if not taken:
            room = (width or 0) + _GAP - sum(each + _GAP for each in widths[:keys])
        taken.append(i)
        room -= widths[i] + _GAP
    yield _chosen(columns, rows, keys, taken)


def _chosen(columns: Sequence[str], rows: Sequence[Sequence[str]], keys: int, taken: Sequence[int]) -> Table:
    at = (*range(keys), *taken)
    return [columns[i] for i in at], [[row[i] for i in at] for row in rows]


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(width_of, column)) for column in zip(columns, *rows, strict=True)]


def day(timestamp: float | None) -> str:
    """The date (UTC) of a time in unix seconds; '-' for none, and for one that no calendar has."""
    try:
        return "-" if timestamp is None else datetime.fromtimestamp(timestamp, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "-"


def holding(counts: dict[str, int]) -> str:
    """What a store holds, of Snapshot.counts()."""
    return f"{count(counts['reviews'], 'review')} by {count(counts['users'], 'user')}, {count(counts['items'], 'item')}"


def size(number: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _words(text: str, characters: int) -> list[str]:
    return [visible(word) for word in text[:characters].split()]


def _pieces(word: str, room: int) -> Iterator[str]:
    """The word in pieces that fit into a line."""
    while word:
        piece = _cut(word, room)
        yield piece
        word = word[len(piece) :]


def _cut(text: str, room: int) -> str:
    """As much of the beginning as fits, whole characters only."""
    width = 0
    for i, character in enumerate(text):
        width += width_of(character)
        if width > room:
            return text[:i]
    return text
