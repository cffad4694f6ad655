"""One value of a JSON object to one field of a record, or BadField with the reason."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from depcli.readers.entries import BadField

# Scales in use go from half a star to 10 points; 0 is how exports write "no rating", and nobody means it.
MAX_RATING = 10.0
_SECONDS_LIMIT = 1e11  # the year 5138; larger timestamps are milli-, micro- or nanoseconds
_NO_TIME = 1e20
_DATES_LIMIT = 21_010_000  # above the day 21001231
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # of the years 1 and 9999, which bound Python's calendar
_RATINGS = f"a rating is a number above 0 and at most {MAX_RATING:g}, such as 4 or 4.5, or 0 where there is none"
_TIMES = "a time is seconds since 1970, or a date such as 2009-05-31, 20090531 or 2009-05"
_SURROGATE = re.compile("[\ud800-\udfff]")
_HASH = re.compile("[0-9a-f]{32}")
_DATE = re.compile(r"^(\d{4})[-/](\d\d?)(?:[-/](\d\d?)(?!\d)|$)")


def first(record: Mapping, names: Sequence[str]) -> object:
    """The value of the first of these names that is there and not null."""
    return next((record[name] for name in names if record.get(name) is not None), None)


def identifier(value: object, what: str) -> str:
    """An id as it stands in the file: a string that is not blank, or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = _plain(value, what)
    if value is None or value == "":
        raise BadField(f"no {what}")
    if not isinstance(value, str):
        raise BadField(f"the {what} is {_kind(value)}, not a string")
    if not value.strip():
        raise BadField(f"the {what} is blank")
    if _SURROGATE.search(value):
        raise BadField(f"the {what} has half a character (a lone surrogate)")
    if "\0" in value:  # nobody could name it to `dep forget`: arguments of a command end there
        raise BadField(f"the {what} has a NUL character")
    return value


def body(value: object) -> str:
    """The text of a review: a string that is not blank."""
    if value is None:
        raise BadField("no text")
    if not isinstance(value, str):
        raise BadField(f"the text is {_kind(value)}, not a string")
    if not value.strip():
        raise BadField("the text is blank")
    return whole(value)


def words(value: object, what: str) -> str:
    """A title or description: missing is empty, a list of strings is joined by newlines."""
    if value is None:
        return ""
    if isinstance(value, list):
        if any(isinstance(part, list) for part in value):
            raise BadField(f"the {what} is a list of lists, not of strings")
        return "\n".join(filter(None, (words(part, what) for part in value)))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _plain(value, what)
    if not isinstance(value, str):
        raise BadField(f"the {what} is {_kind(value)}, not a string")
    return whole(value)


def whole(text: str) -> str:
    """The text with every lone surrogate, which no file and no table can hold, replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def rating(value: object) -> float | None:
    """More than 0 and at most 10, as a number or in digits; None when missing, or 0."""
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None:
        raise BadField(f"the rating {_shown(value)} is not a number", _RATINGS)
    if number == 0:
        return None
    if not 0 < number <= MAX_RATING:  # false for NaN too
        raise BadField(f"the rating {_shown(value)} is not above 0 and at most {MAX_RATING:g}", _RATINGS)
    return number


def timestamp(value: object) -> float | None:
    """Unix seconds of a `moment`; None when it is missing."""
    return None if value is None or value == "" else moment(value)


def moment(value: object) -> float:
    """Unix seconds, before 1970 negative, of a point in time: a number of seconds (milli-, micro-, nano-), or an ISO date, which
    is UTC unless it says otherwise; slashes and digits without zeros will do, as in 2009/5/31. A month, 2009-05, and a year are
    their beginning.

    Two kinds of numbers are dates: 20090531, a day from 1900 to 2100, and as text, such as a cell of a table, 2009, a year from
    1900 to 2100. As seconds they would be days in August 1970, or within its first hour. In JSON the number 2009 is seconds."""
    number = _number(value)
    if number is None:
        return _iso(value)
    if not abs(number) < _NO_TIME:
        raise BadField(f"the timestamp {_shown(value)} is no point in time", _TIMES)
    if number < _DATES_LIMIT and (date := _in_digits(number, isinstance(value, str))) is not None:
        return date
    while abs(number) > _SECONDS_LIMIT:
        number /= 1000
    return _within(number, value)


def listed(value: object, what: str) -> list:
    """A list of objects; also from an object of lists of one length, which is how some versions of `datasets` keep one."""
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        if len({len(column) for column in value.values()}) == 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise BadField(f"no {what}" if value is None else f"the {what} is not a list")
    return value


def hashes(value: object) -> tuple[bytes, ...]:
    """Hashes of versions as `dep export` writes them; anything else under that name means something else and is nothing to us."""
    if not isinstance(value, list) or not all(isinstance(one, str) and _HASH.fullmatch(one) for one in value):
        return ()
    return tuple(map(bytes.fromhex, value))


def _iso(value: object) -> float:
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(_DATE.sub(_padded, value.strip()))
        except ValueError:
            pass
        else:
            return _within((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), value)
    raise BadField(f"the timestamp {_shown(value)} is neither a number nor an ISO date such as 2009-05-31", _TIMES)


def _padded(date: re.Match) -> str:
    year, month, day = date.groups()
    return f"{year}-{month:0>2}-{day or '1':0>2}"


def _in_digits(number: float, years: bool) -> float | None:
    """Unix seconds of the day 20090531, or, in a text, where `years` are meant by four digits, of the beginning of 2009. Raises
    BadField for a text such as 20090431."""
    digits = f"{number:.0f}" if number.is_integer() else ""
    if not (len(digits) == 8 or (years and len(digits) == 4)) or not "1900" <= digits[:4] <= "2100":
        return None
    try:
        return datetime(int(digits[:4]), int(digits[4:6] or 1), int(digits[6:] or 1), tzinfo=UTC).timestamp()
    except ValueError:
        if years:
            raise BadField(f"the timestamp {digits} is no day of the calendar", _TIMES) from None
        return None


def _within(seconds: float, value: object) -> float:
    """The seconds, where a calendar has them."""
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        side = "before the year 1" if seconds < 0 else "after the year 9999"
        raise BadField(f"the timestamp {_shown(value)} is {side}", _TIMES)
    return seconds


def _number(value: object) -> float | None:
    """The number a JSON number or a string of digits stands for, NaN and infinity included; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and "_" in value:  # float() reads "1_0" as ten
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def _plain(value: float, what: str) -> str:
    try:
        return str(value)
    except ValueError:  # a whole number of thousands of digits
        raise BadField(f"the {what} is a number that is too long") from None


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object", bytes: "bytes"}
    return kinds.get(type(value), type(value).__name__)  # a parquet file may hold anything


def _shown(value: object) -> str:
    try:
        return repr(value)[:40]
    except ValueError:
        return "(a very long number)"
