"""The reader of one file: finds out the format, and yields records and bad lines."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from depcli.errors import BadInput
from depcli.readers import formats
from depcli.readers.containers import open_container
from depcli.readers.entries import BadField, BadLine, beginning
from depcli.records import Item, Review

_TRIED = 100  # entries that are looked at to find out the format
_SHOWN = 40  # names of columns or keys in a message
_UTF8 = "text in another encoding is converted by iconv, such as: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
_Detector = Callable[[Mapping], tuple[str, str] | None]


class Reader:
    """Iterates once over Review, Item and BadLine. `format` is what the file is read as, and `reason` why.

    Raises BadInput while iterating when the file breaks off; what came before it is good.
    """

    def __init__(self, source, entries: Iterable, parse: formats.Parser, format: str, reason: str):
        self.format, self.reason = format, reason
        self._source, self._parse, self._entries = source, parse, entries

    def __iter__(self) -> Iterator[Review | Item | BadLine]:
        try:
            for number, held, reason in self._entries:
                try:
                    for record in self._parse(json_object(held, reason)):
                        yield self._bad(number, record, held) if isinstance(record, BadField) else record
                except BadField as problem:
                    yield self._bad(number, problem, held)
        finally:
            self.close()

    def _bad(self, number: int, problem: BadField, held: str | Mapping | None) -> BadLine:
        return BadLine(number, str(problem), beginning(held), self._source.unit, problem.hints)

    @property
    def position(self) -> tuple[int, int] | None:
        """(bytes read, bytes in all) of the file as it lies on the disk; None when the end is not known."""
        return self._source.position

    def close(self) -> None:
        """Let go of the file. Reading to the end does that too; twice is fine."""
        self._source.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_reviews(
    path: str | os.PathLike,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    user: str | None = None,
    *,
    items_beside: bool = False,
) -> Reader:
    """A reader of reviews (items among them are understood). `path` is a file, the folder of a saved data set, or '-'; the format
    is found out unless it is named. `columns` says what fields of formats.COLUMNS are called in the file (what items are called
    and described by may be missing where there are `items_beside`, in a file of their own), and `user` who wrote the reviews
    where it does not say. Raises BadInput."""
    columns = columns or {}
    if format is not None and format not in formats.FORMATS:
        raise BadInput(f"no format {format!r}", f"known: {', '.join(formats.FORMATS)}")
    if unknown := [name for name in columns if name not in formats.COLUMNS]:
        raise BadInput(f"no field {unknown[0]!r}", f"known: {', '.join(formats.COLUMNS)}")
    detect = formats.detect if format is None else lambda record: (format, "as named")
    must_have = [column for name, column in columns.items() if not (items_beside and formats.is_of_items(name))]
    return _open(path, format, detect, formats.parser, columns, must_have=must_have, user=user)


def read_items(path: str | os.PathLike, columns: Mapping[str, str] | None = None) -> Reader:
    """A reader that takes every row for an item: asin (or parent_asin), title, description. `columns` are those of the reviews:
    where the file has them, asin, item_title and item_description count. Raises BadInput."""
    columns = formats.of_items(columns or {})
    return _open(path, None, formats.detect_items, lambda format, path: (formats.item, ""), columns)


def _open(
    path: str | os.PathLike,
    named: str | None,
    detect: _Detector,
    parser: Callable[[str, str | os.PathLike], tuple[formats.Parser, str]],
    columns: Mapping[str, str],
    must_have: Collection[str] = (),
    user: str | None = None,
) -> Reader:
    def renamed(record: Mapping) -> Mapping:
        found = {name: record[column] for name, column in columns.items() if column in record}
        return formats.of_user({**record, **found} if found else record, user)

    source = open_container(path, named, lambda names: detect(renamed(dict.fromkeys(names, ""))) is not None)
    try:
        missing = [column for column in must_have if source.columns is not None and column not in source.columns]
        if missing:
            raise BadInput(f"{source.name} has no column {missing[0]!r}", f"its columns are {_names(source.columns)}")
        entries = source.entries()
        seen, format, reason = _look(source, named, entries, detect, renamed)
        format = source.kind if format == "jsonl" else format
        if columns and format not in formats.PLAIN:
            raise BadInput(f"{source.name} is read as {format}, whose fields have their names", "leave --column out")
        parse, about = parser(format, path)
    except BaseException:
        source.close()
        raise
    reason = "; ".join(filter(None, (": ".join(filter(None, (source.description, reason))), about)))
    return Reader(source, itertools.chain(seen, entries), lambda record: parse(renamed(record)), format, reason)


def _look(
    source, named: str | None, entries: Iterator, detect: _Detector, renamed: Callable[[Mapping], Mapping]
) -> tuple[list, str, str]:
    """Read entries until one, its fields `renamed`, tells the format: (entries read, format, reason)."""
    name, columns = source.name, source.columns
    seen, strangers, problem = [], [], ""
    for entry in itertools.islice(entries, _TRIED):
        seen.append(entry)
        try:
            record = json_object(*entry[1:])
        except BadField as error:
            problem = problem or f"{source.unit} {entry[0]}: {error}"
            continue
        found = detect(renamed(record))
        if found is not None:
            return seen, *found
        strangers.append(record)
    if not seen:
        raise BadInput(f"{name} is empty" if columns is None else f"{name} names its columns and has no rows")
    if not strangers and columns is None and named:
        raise BadInput(f"{name} is not {named}: {problem}", "leave --format out, and it is found out")
    if not strangers and columns is None:
        hint = "needed: a JSON object per line, a JSON array of objects, or a header and rows between commas, semicolons or tabs"
        raise BadInput(f"{name} is neither JSON nor a table: {problem}", _UTF8 if "UTF-8" in problem else hint)
    if not strangers:
        hint = _UTF8 if "UTF-8" in problem else ""
        raise BadInput(f"no row of {name} can be read, of {len(seen)} that were tried: {problem}", hint)
    need = formats.need(renamed(strangers[0]))
    if source.kind not in ("csv", "tsv"):
        message = f"cannot tell what {name} holds: its rows have {_names(strangers[0])}"
        raise BadInput(message, f"{need}; --column FIELD=NAME says what they are called")
    message = f"cannot tell what {name} holds: its first line, where the names of the columns belong, has {_names(columns)}"
    raise BadInput(message, f"{need}; put a line with names before the rows, or say what they are called: --column FIELD=NAME")


def _names(record: Iterable[str]) -> str:
    names = [beginning(str(key)) for key in itertools.islice(record, _SHOWN + 1)]
    return ", ".join(names[:_SHOWN] + ["..."] * (len(names) > _SHOWN)) or "no keys"


def json_object(held: str | Mapping | None, reason: str) -> Mapping:
    """The object that an entry holds, as text or as such; raises BadField with what it is instead (`reason`, if there is one)."""
    if reason:
        raise BadField(reason)
    if not isinstance(held, str):
        return held
    try:
        record = json.loads(held)
    except json.JSONDecodeError as error:
        raise BadField(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise BadField("not JSON: nested too deep") from None
    except ValueError:  # a whole number of thousands of digits
        raise BadField("holds a number that is too long") from None
    if not isinstance(record, dict):
        raise BadField("not a JSON object")
    return record
