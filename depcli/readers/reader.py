"""The reader of one file: finds out the format, and yields records and bad lines."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping

from depcli.errors import BadInput
from depcli.readers import formats
from depcli.readers.entries import BadField, BadLine
from depcli.readers.files import Source, open_source
from depcli.records import Item, Review

FORMATS = tuple(formats.PARSERS)
_TRIED = 100  # entries that are looked at to find out the format
_EXCERPT = 80
_Detector = Callable[[Mapping], tuple[str, str] | None]


class Reader:
    """Iterates once over Review, Item and BadLine. `format` is what the file is read as, and `reason` why.

    Raises BadInput while iterating when the file breaks off; what came before it is good.
    """

    def __init__(self, source: Source, entries: Iterator, parse: Callable[[Mapping], Review | Item], format: str, reason: str):
        self.format, self.reason = format, reason
        self._source, self._parse, self._entries = source, parse, entries

    def __iter__(self) -> Iterator[Review | Item | BadLine]:
        try:
            for number, text, reason in self._entries:
                try:
                    record = self._parse(json_object(text, reason))
                except BadField as problem:
                    record = BadLine(number, str(problem), _excerpt(text or ""))
                yield record
        finally:
            self.close()

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


def open_reviews(path: str | os.PathLike, format: str | None = None) -> Reader:
    """A reader of reviews (item lines among them are understood). `path` is a file or '-'; the format is found out unless it
    is named. Raises BadInput."""
    if format is None:
        return _open(path, formats.detect, formats.PARSERS)
    if format not in formats.PARSERS:
        raise BadInput(f"no format {format!r}", f"known: {', '.join(FORMATS)}")
    return _open(path, lambda record: (format, "as named"), formats.PARSERS)


def read_items(path: str | os.PathLike) -> Reader:
    """A reader that takes every line for an item: asin (or parent_asin), title, description. Raises BadInput."""
    return _open(path, formats.detect_items, dict.fromkeys(formats.PARSERS, formats.item))


def _open(path: str | os.PathLike, detect: _Detector, parsers: Mapping[str, Callable]) -> Reader:
    source = open_source(path)
    entries = source.entries()
    seen, format, reason = _look(source.name, entries, detect)
    return Reader(source, itertools.chain(seen, entries), parsers[format], format, reason)


def _look(name: str, entries: Iterator, detect: _Detector) -> tuple[list, str, str]:
    """Read entries until one tells the format: (entries read, format, reason)."""
    seen, strangers, problem = [], [], ""
    for entry in itertools.islice(entries, _TRIED):
        seen.append(entry)
        try:
            record = json_object(*entry[1:])
        except BadField as error:
            problem = problem or f"line {entry[0]}: {error}"
            continue
        found = detect(record)
        if found is not None:
            return seen, *found
        strangers.append(record)
    if not seen:
        raise BadInput(f"{name} is empty")
    if not strangers:
        raise BadInput(f"{name} is not JSON: {problem}", "needed: one JSON object per line, or a JSON array of objects")
    keys = ", ".join(_excerpt(key) for key in itertools.islice(strangers[0], 12)) or "no keys"
    hint = "reviews need user_id, asin and text; items need asin and title or description"
    raise BadInput(f"cannot tell what {name} holds: its objects have {keys}", hint)


def json_object(text: str | None, reason: str) -> Mapping:
    """The object that a line holds; raises BadField with what it is instead (`reason` where there is no text)."""
    if text is None:
        raise BadField(reason)
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadField(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise BadField("not JSON: nested too deep") from None
    except ValueError:  # a whole number of thousands of digits
        raise BadField("holds a number that is too long") from None
    if not isinstance(record, dict):
        raise BadField("not a JSON object")
    return record


def _excerpt(text: str) -> str:
    """The beginning, safe to show on a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text.strip()[:_EXCERPT])
