"""Lines of a requests file: who shall write about what."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from depcli.readers import fields, lamp
from depcli.readers.entries import BadField
from depcli.readers.files import open_source
from depcli.readers.reader import json_object

_WORDS = ("title", "item_title", "item_description", "item_task")
FIELDS = ("user_id", "asin", "rating", *_WORDS, "id")
_TOLD = 20  # names of fields that mean nothing


@dataclass(frozen=True)
class RequestLine:
    """One line. `asked` are the arguments of writing.find_request, {} when the line is no request: `problem` says why.

    `number` counts from 1 (in a JSON array: the element), `digest` is of the text of the line, `id` is what it calls itself.
    """

    number: int
    digest: str
    asked: Mapping[str, object] = field(default_factory=dict)
    id: str | int | None = None
    problem: str = ""


def read_requests(
    path: str | os.PathLike, on_unknown: Callable[[list[str]], None] = lambda names: None
) -> Generator[RequestLine]:
    """The lines of a file (plain or gzipped, JSON lines or an array), or of standard input for '-': user_id, asin and maybe
    rating, title, item_title, item_description, item_task, id. Other fields mean nothing, so that a file of reviews is one of
    requests; `on_unknown` gets their names, each once. Questions of LaMP and rows of LongLaMP ask for what the store knows as
    their target.

    Raises BadInput for a file that cannot be read, at once, or while iterating when it breaks off: what came before it is good.
    """
    return _begun(_lines(open_source(path), on_unknown))


def shard_of(lines: Generator[RequestLine], total: int, shard: tuple[int, int]) -> tuple[Generator[RequestLine], int]:
    """(the lines of one of several parts of a file of `total` lines, their number); `shard` is (which, from 1; of how many).

    The parts follow each other and differ by one line at most: what is made of them, joined in order, is what is made of all."""
    i, n = shard
    start, stop = total * (i - 1) // n, total * i // n

    def part() -> Generator[RequestLine]:
        with closing(lines):
            yield
            yield from islice(lines, start, stop)

    return _begun(part()), stop - start


def count_requests(path: str | os.PathLike) -> int | None:
    """How many lines there are; None for a pipe, which can be read once only."""
    source = open_source(path) if os.path.isfile(path) else None
    if source is None:
        return None
    try:
        return sum(1 for _ in source.entries())
    finally:
        source.close()


def _begun(lines: Generator[RequestLine]) -> Generator[RequestLine]:
    """Past its first yield, which gives nothing: to close lines that were not begun would leave the file open."""
    next(lines)
    return lines


def _lines(source, on_unknown: Callable[[list[str]], None]) -> Generator[RequestLine]:
    rows, told = {"lamp": lamp.questions(), "longlamp": lamp.longlamp()}, []
    try:
        yield
        for number, text, reason in source.entries():
            digest = hashlib.sha256((text or reason).strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]
            try:
                record = json_object(text, reason)
                name = _name(record.get("id"))
            except BadField as problem:
                yield RequestLine(number, digest, problem=str(problem))
                continue
            found = lamp.detect(record)
            strange = [] if found else [key for key in record if key not in FIELDS and key not in told][: _TOLD - len(told)]
            if strange:
                told += strange
                on_unknown(strange)
            try:
                yield RequestLine(number, digest, _asked(record, rows[found[0]] if found else None), name)
            except BadField as problem:
                yield RequestLine(number, digest, id=name, problem=str(problem))
    finally:
        source.close()


def _asked(record: Mapping, rows: lamp.Rows | None) -> dict:
    if rows:
        user = rows.user(record)
        return {"user_id": user, "asin": user + lamp.TARGET, "rating": None}
    return {
        "user_id": fields.identifier(record.get("user_id"), "user id"),
        "asin": fields.identifier(record.get("asin"), "item id"),
        "rating": fields.rating(record.get("rating")),
        **{name: fields.words(record[name], name) for name in _WORDS if record.get(name) is not None},
    }


def _name(value: object) -> str | int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise BadField("the id is neither a string nor a whole number")
    return value
