"""Tables as entries: delimited text with a header, parquet, and data sets that the `datasets` library saved to a folder.

Like Source.entries(), but a good entry holds the row itself: (number, {column: value}, ""); a bad one its cells as text.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from depcli.errors import BadInput
from depcli.readers.entries import beginning
from depcli.readers.files import Source
from depcli.words import count

MAX_CELL = 16 * 2**20  # characters: an open quote would take the rest of the file for one cell
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons"}
_SEPARATOR = r'"?sep=([,;\t])"?\s*'
_HEADER = re.compile(rf"[\r\n]*(?:{_SEPARATOR}(?:[\r\n]+|$))?([^\r\n]*)", re.IGNORECASE)
_ROWS = 256  # of a parquet file that are in memory as Python objects
PARQUET = b"PAR1"
_DATASET, _SPLITS = "state.json", "dataset_dict.json"
Entry = tuple[int, Mapping | str | None, str]


class DelimitedText:
    """A header and rows between commas, semicolons or tabs. With `quotes` a cell may stand in double quotes, and then hold
    delimiters and line ends; without them a quote is a character like any other."""

    unit = "line"

    def __init__(self, source: Source, *, quotes: bool):
        self.name, self._source, self._quotes = source.name, source, quotes
        header = header_of(source.head)
        if header is None:
            raise BadInput(f"{self.name} is no table: its first line has no commas, semicolons or tabs", "name the columns there")
        delimiter, _ = header
        self.kind = "csv" if quotes else "tsv"
        csv.field_size_limit(MAX_CELL)
        quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        self._held: list[str] = []  # the lines of the row that is read
        self._rows = csv.reader(self._lines(), delimiter=delimiter, quoting=quoting, strict=True)
        rows = self._parsed()  # blank lines and the delimiter's name may stand before the header
        names, problem = next(row[1:] for row in rows if row[1] and not re.fullmatch(_SEPARATOR, self._held[0], re.IGNORECASE))
        if problem:
            raise BadInput(f"{self.name}: its header cannot be read: {problem}")
        self.columns = _told_apart(self.name, [name.strip() for name in names])
        self.description = f"{len(self.columns)} columns between {_DELIMITERS[delimiter]}"

    @property
    def position(self) -> tuple[int, int] | None:
        return self._source.position

    def close(self) -> None:
        self._source.close()

    def entries(self) -> Iterator[Entry]:
        """One per row, numbered by the line that it begins on."""
        for number, row, problem in self._parsed():
            if problem:
                yield number, row, problem
            elif row and len(row) != len(self.columns):
                cells = f"{len(row)} cells" if len(row) > 1 else "1 cell"
                yield number, " | ".join(row), f"{cells} where the header has {len(self.columns)} columns"
            elif row:
                cells = dict(zip(self.columns, row, strict=True))
                bad = next((name for name, cell in cells.items() if not _is_whole(cell)), None)
                if bad is None:
                    yield number, cells, ""
                else:
                    yield number, " | ".join(row), f"not valid UTF-8 in column {bad!r}"

    def _lines(self) -> Iterator[str]:
        for line in self._source.lines():
            self._held.append(line)
            yield line

    def _parsed(self) -> Iterator[tuple[int, list[str] | str, str]]:
        """(line, cells, ""), or for every line that an open quote spoils (line, text, what is wrong). Raises BadInput for a quote
        that is never closed."""
        while True:
            self._held.clear()
            line = self._rows.line_num + 1
            try:
                yield line, next(self._rows), ""
            except StopIteration:
                return
            except csv.Error as error:
                if str(error) == "unexpected end of data" or str(error).startswith("field larger"):
                    raise self._open_quote(line) from None
                yield from self._spoiled(line, error)

    def _spoiled(self, first: int, error: csv.Error) -> Iterator[tuple[int, str, str]]:
        many = f", so that lines {first} to {self._rows.line_num} are one row" if len(self._held) > 1 else ""
        for line, text in enumerate(self._held, first):
            if line == first:
                yield line, text, f"its quotes are not closed or not doubled{many}: {error}"
            elif text.strip():
                yield line, text, f"in one row with line {first}, whose quotes are not closed or not doubled"

    def _open_quote(self, line: int) -> BadInput:
        last = self._rows.line_num
        many = f" and takes in lines {line} to {last}" if last > line else ""
        message = f"{self.name}: a cell that begins at line {line} does not end{many}: {beginning(self._held[0])}"
        hint = "what stands before it was read; close its quote, and run the same command again"
        return BadInput(message, hint + ("; or --format tsv, where quotes mean nothing" if self._quotes else ""))


def header_of(head: bytes) -> tuple[str, list[str]] | None:
    """(delimiter, names of the columns) of a table's beginning; None when its first line is no header. A line `sep=;`, which
    Excel puts before it, names the delimiter."""
    delimiter, line = _HEADER.match(head.decode("utf-8", "surrogateescape")).groups()
    delimiter = delimiter or max(_DELIMITERS, key=line.count)
    if not line.count(delimiter) or not line.replace("\t", " ").isprintable():
        return None
    return delimiter, [name.strip().strip('"').strip() for name in line.split(delimiter)]


def _told_apart(name: str, columns: list[str]) -> list[str]:
    """The names of the columns. Raises BadInput when two are the same; those without a name mean nothing."""
    if twice := [column for column in dict.fromkeys(columns) if column and columns.count(column) > 1]:
        raise BadInput(f"{name} has two columns called {twice[0]!r}", "give each column a name of its own")
    return columns


class ArrowTable:
    """The rows of several files, one after the other; `batches` opens one of them as record batches. `columns` are their names,
    None where only the rows tell."""

    kind, unit = "parquet", "row"

    def __init__(
        self,
        name: str,
        files: list[Path],
        batches: Callable[[Path], Iterator],
        description: str,
        columns: list[str] | None = None,
    ):
        self.name, self.description, self.columns = name, description, columns
        self._files, self._batches = files, batches
        self._bytes = sum(file.stat().st_size for file in files)
        self._read = 0

    @property
    def position(self) -> tuple[int, int]:
        """(bytes, bytes in all), file by file."""
        return self._read, self._bytes

    def close(self) -> None:
        """Nothing stays open between two rows."""

    def entries(self) -> Iterator[Entry]:
        """One per row, counted through all files."""
        import pyarrow as pa

        number = 0
        for file in self._files:
            try:
                for batch in self._batches(file):
                    for start in range(0, batch.num_rows, _ROWS):
                        for row in batch.slice(start, _ROWS).to_pylist():
                            number += 1
                            yield number, {name: _plain(value) for name, value in row.items()}, ""
            except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
                message = f"{file} breaks off or is damaged after row {number} of {self.name}: {_short(error)}"
                raise BadInput(
                    message, "what stands before it was read; fetch the file again, and run the same command"
                ) from None
            self._read += file.stat().st_size


def parquet(path: str) -> ArrowTable:
    """A parquet file; only a few rows of it are in memory. Raises BadInput when it is none, or cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def batches(file: Path) -> Iterator:
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(_ROWS)

    try:
        with pq.ParquetFile(path) as opened:
            rows, columns = opened.metadata.num_rows, opened.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} is a broken parquet file: {_short(error)}", "it is cut or damaged: fetch it again") from None
    description = f"{count(rows, 'row')} of a parquet file"
    return ArrowTable(path, [Path(path)], batches, description, _told_apart(path, columns))


def saved_dataset(path: str) -> ArrowTable | None:
    """A Dataset or DatasetDict as save_to_disk() wrote it: all splits, one after the other. None for another folder."""
    folder = Path(path)
    try:
        if (folder / _SPLITS).is_file():
            splits = [folder / name for name in json.loads((folder / _SPLITS).read_text("utf-8"))["splits"]]
        elif (folder / _DATASET).is_file():
            splits = [folder]
        else:
            return None
        files = [
            split / one["filename"]
            for split in splits
            for one in json.loads((split / _DATASET).read_text("utf-8"))["_data_files"]
        ]
        outside = [file for file in files if not file.resolve().is_relative_to(folder.resolve())]
        if outside:
            raise BadInput(f"{path} names a file outside itself: {outside[0]}")
        return ArrowTable(path, files, _stream, f"a saved data set: {', '.join(s.name for s in splits)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is a broken data set: {_short(error)}", "save it again with save_to_disk()") from None


def _stream(file: Path) -> Iterator:
    import pyarrow as pa

    with pa.memory_map(os.fspath(file)) as mapped, pa.ipc.open_stream(mapped) as reader:
        yield from reader


def _plain(value: object) -> object:
    """A value as JSON would hold it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _is_whole(cell: str) -> bool:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
