"""The one place where commands speak: the result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TextIO

from depcli.words import OBEYED, visible


class OutputClosed(Exception):
    """Whoever read stdout has closed it (`dep ... | head`)."""


class Sink:
    """Human: readable lines. Json: exactly one document. `quiet` and `progress` say what stderr carries besides errors; `yes`
    answers every question."""

    def __init__(
        self, mode: Literal["human", "json"] = "human", *, quiet: bool = False, progress: bool = True, yes: bool = False
    ):
        self.mode, self.quiet, self._yes = mode, quiet, yes
        self.shows_progress = progress and not quiet and sys.stderr.isatty()
        self._documents = 0

    @property
    def width(self) -> int | None:
        """Columns of the terminal that shows the result; None where it goes elsewhere, so that nothing has to fit."""
        return shutil.get_terminal_size().columns if self.on_terminal else None

    @property
    def on_terminal(self) -> bool:
        """Whether the result is shown to somebody while it comes."""
        return sys.stdout.isatty()

    @property
    def is_json(self) -> bool:
        return self.mode == "json"

    def result(self, document: dict, human: Callable[[], None]) -> None:
        """The outcome of a command: `document` in JSON mode, else what `human` prints by `line` and `table`."""
        if not self.is_json:
            human()
            return
        if self._documents:
            raise RuntimeError("a command printed two JSON documents")
        self._documents += 1
        ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        text = json.dumps(_finite(document), ensure_ascii=ascii_only, indent=2, allow_nan=False)
        if sys.stdout.isatty() and OBEYED.search(text):  # C1 and bidirectional controls: still the same JSON, escaped
            text = json.dumps(_finite(document), indent=2, allow_nan=False)
        _write(text + "\n")

    def line(self, text: str = "") -> None:
        """A line of the result. Any text is safe: nothing in it is markup, and a terminal shows control characters."""
        _write(_shown(text, sys.stdout) + "\n")

    def heading(self, text: str) -> None:
        shown = _shown(text, sys.stdout)
        _write((f"\x1b[1m{shown}\x1b[0m" if _coloured(sys.stdout) else shown) + "\n")

    def piece(self, text: str) -> None:
        """A piece of a text that is still being written: shown at once, without a line break."""
        _write(_shown(text, sys.stdout))
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, gap: int = 2) -> None:
        """Columns aligned, `gap` spaces apart, numbers to the right: nothing cut, nothing wrapped."""
        cells = [[_shown(cell, sys.stdout).replace("\n", " ") for cell in row] for row in (columns, *rows)]
        widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
        right = [all(NUMBER.fullmatch(row[i]) for row in cells[1:]) for i in range(len(columns))]
        for number, row in enumerate(cells):
            padded = [
                " " * (width - width_of(cell)) + cell if to_right else cell + " " * (width - width_of(cell))
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ]
            text = (" " * gap).join(padded).rstrip()
            _write((f"\x1b[1m{text}\x1b[0m" if number == 0 and _coloured(sys.stdout) else text) + "\n")

    def note(self, text: str) -> None:
        """What was chosen and why, what was skipped, what to do next: on stderr, not with --quiet."""
        if not self.quiet:
            _to_stderr(text)

    def aside(self, text: str) -> None:
        """What was asked for but is not the result: on stderr, with --quiet too."""
        _to_stderr(text)

    def ask(self, question: str) -> bool:
        """Put a yes/no question to a person; yes with --yes, no where nobody sits at a terminal."""
        if self._yes:
            self.note(f"{question} yes")
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        import click

        return click.confirm(_shown(question, sys.stderr), err=True)

    @contextmanager
    def progress(self, what: str, unit: str = "") -> Iterator[Callable[..., None]]:
        """A bar on stderr while the block runs. Yields `update(done, total=None, detail='')`; total None: not known."""
        if not self.shows_progress:
            yield lambda done, total=None, detail="": None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        class Detail(TextColumn):
            """Gives way on a narrow terminal, in one line: rich would cut the amount and the times as well."""

            def render(self, task):
                text = super().render(task)
                text.no_wrap, text.overflow = True, "ellipsis"
                return text

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            Detail("{task.fields[detail]}", markup=False, table_column=Column()),
        )
        with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
            task = bar.add_task(what, total=None, amount="", detail="")

            def update(done: float, total: float | None = None, detail: str = "") -> None:
                amount = f"{done:,.0f}" + (f"/{total:,.0f}" if total else "") + (f" {unit}" if unit else "")
                bar.update(task, completed=done, total=total, amount=amount, detail=visible(detail))

            yield update


NUMBER = re.compile(r"[-+±\d.,%e* <]*|-")


def complain(message: str, hint: str = "") -> None:
    """An error and how to mend it, on stderr."""
    _to_stderr(f"error: {message}")
    if hint:
        _to_stderr(f"hint: {hint}")


def _shown(text: str, stream: TextIO) -> str:
    return visible(text) if stream.isatty() else text


def _write(text: str) -> None:
    """Onto stdout; characters that its encoding lacks appear escaped (a lone surrogate thus stays valid JSON)."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    except BrokenPipeError as error:
        raise OutputClosed from error


def _to_stderr(text: str) -> None:
    """Always with visible controls: messages are for reading, and log files are read on terminals."""
    try:
        sys.stderr.write(visible(text) + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        pass  # nobody reads our notes any more


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(text: str) -> int:
    """Columns that the text takes on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def _finite(value):
    """The same document with null for NaN and infinity, which JSON does not know, and plain numbers for numpy's."""
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
