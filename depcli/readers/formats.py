"""The formats: from one row, whatever file it stands in, to the records that it holds.

jsonl        plain: user_id, asin, text and maybe rating, title, timestamp; other names in use are understood
csv, tsv     the same in a table with a header; in tsv quotes are characters like any other
parquet      the same in a parquet file, or in a data set that was saved to a folder
amazon2023   Amazon Reviews 2023: reviews and item metadata, both keyed by parent_asin
lamp         LaMP: the questions of its four tasks that ask for a text, see lamp.py
longlamp     LongLaMP
dpl          DPL: a user, a `profile` of reviews, and one more review as `data`

What a file is (JSON, table, parquet, folder) is seen from its content; a name given to it says how its rows are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from depcli.errors import BadInput
from depcli.readers import fields, lamp
from depcli.readers.entries import BadField
from depcli.records import Item, Review

Parsed = Iterable[Review | Item | BadField]  # a BadField among the records: the rest of the row is good
Parser = Callable[[Mapping], Parsed]

_USER = ("user_id", "reviewerID", "user")
_TEXT = ("text", "reviewText", "review")
_RATING = ("rating", "overall", "score")
_TITLE = ("title", "summary")
_TIMESTAMP = ("timestamp", "unixReviewTime", "date")
_PLAIN_ITEM = ("asin", "item_id", "parent_asin")
_AMAZON_ITEM = ("parent_asin", "asin")  # variants of a product share its parent_asin, and reviews are about the product
# Of an item, in the row of a review.
_OF_ITEM = {"title": "item_title", "description": "item_description", "task": "item_task"}

_ANY_ITEM = ("parent_asin", "asin", "item_id")
_ABOUT_ITEM = ("title", "description")
COLUMNS = ("user_id", "asin", "text", "rating", "title", "timestamp", *_OF_ITEM.values())
_HEADER = "Product Description"  # the first paragraph of many an Amazon description, and no part of it


def plain(record: Mapping) -> Parsed:
    """A review, maybe with the title and description of its item, or an item."""
    if _is_item(record):
        return (_item(record, _PLAIN_ITEM),)
    review = _review(record, _PLAIN_ITEM)
    described = {name: record[column] for name, column in _OF_ITEM.items() if record.get(column)}
    return (_item({"asin": review.asin, **described}, ("asin",)), review) if described else (review,)


def amazon2023(record: Mapping) -> Parsed:
    """A review or an item."""
    if not _is_item(record):
        return (_review(record, _AMAZON_ITEM),)
    description = record.get("description")
    if isinstance(description, list) and description[:1] == [_HEADER]:
        record = {**record, "description": description[1:]}
    return (_item(record, _AMAZON_ITEM),)


def dpl(record: Mapping) -> Parsed:
    """The reviews of a user's profile, and the one that is to be written. Rows of one user repeat each other."""
    if _is_item(record):
        return (_item(record, _PLAIN_ITEM),)
    return _of_row(record, {"user_id": fields.identifier(record.get("user_id"), "user id")})


def of_user(record: Mapping, user: str | None) -> Mapping:
    """The record of a review, with the `user` who wrote it where it does not say."""
    if user is None or any(name in record for name in _USER) or not any(name in record for name in _TEXT):
        return record
    return {**record, _USER[0]: user}


def item(record: Mapping) -> Parsed:
    """A line of an items file, in any format."""
    return (_item(record, _ANY_ITEM),)


FORMATS = ("jsonl", "csv", "tsv", "parquet", "amazon2023", "dpl", "lamp", "longlamp")
PLAIN = FORMATS[:4]


def parser(format: str, path: str | os.PathLike) -> tuple[Parser, str]:
    """The parser of a file in a format, and what is to be said about it."""
    if format == "lamp":
        return lamp.lamp(path)
    if format == "longlamp":
        return lamp.longlamp(), ""
    return {"amazon2023": amazon2023, "dpl": dpl}.get(format, plain), ""


def is_of_items(name: str) -> bool:
    """Whether a field of COLUMNS is of an item, not of a review."""
    return name in _OF_ITEM.values()


def of_items(columns: Mapping[str, str]) -> dict[str, str]:
    """The same names for a file of items, where the title is the item's."""
    own = {column: name for name, column in _OF_ITEM.items()}
    return {own.get(name, name): column for name, column in columns.items() if name == "asin" or name in own}


def detect(record: Mapping) -> tuple[str, str] | None:
    """(format, reason) when this row is enough to tell."""
    if isinstance(record.get("data"), Mapping) and isinstance(record.get("profile"), (list, Mapping)):
        return "dpl", "its rows have user_id, profile and data"
    if found := lamp.detect(record):
        return found
    if "parent_asin" in record and (_is_item(record) or _is_review(record)):
        what = "item metadata" if _is_item(record) else "reviews"
        return "amazon2023", f"its rows are {what} with parent_asin"
    if _is_item(record):
        return "jsonl", f"its rows have {_names(record, (_PLAIN_ITEM, _ABOUT_ITEM))}, and no user"
    if _is_review(record):
        return "jsonl", f"its rows have {_names(record, (_USER, _PLAIN_ITEM, _TEXT))}"
    return None


def detect_items(record: Mapping) -> tuple[str, str] | None:
    """(format, reason) when this row can be one of an items file. Raises BadInput for a review: its title is not the item's."""
    if _is_review(record):
        raise BadInput("the file of --items holds reviews", "name it without --items: items may stand in a file of reviews")
    if not any(name in record for name in _ANY_ITEM) or not ("title" in record or "description" in record):
        return None
    return "amazon2023" if "parent_asin" in record else "jsonl", f"its rows have {_names(record, (_ANY_ITEM, _ABOUT_ITEM))}"


def need(record: Mapping) -> str:
    """What a row of reviews or items must have, and what of a review's this one lacks when it has some of it."""
    lacking = [names[0] for names in (_USER, _PLAIN_ITEM, _TEXT) if not any(name in record for name in names)]
    said = f" (missing: {', '.join(lacking)})" if 0 < len(lacking) < 3 else ""
    said += " or --user ID" if lacking == [_USER[0]] else ""
    return f"reviews need user_id, asin and text{said}, items asin and title or description"


def _of_row(record: Mapping, user: Mapping) -> Parsed:
    """The profile and the data of a row, each a review without its user."""
    profile = fields.listed(record.get("profile"), "profile")
    named = [(f"review {number} of the profile", entry) for number, entry in enumerate(profile, 1)]
    for where, entry in [*named, ("the data", record.get("data"))]:
        try:
            if not isinstance(entry, Mapping):
                raise BadField("not an object")
            yield _review({**entry, **user}, _PLAIN_ITEM)
        except BadField as problem:
            yield BadField(f"{where}: {problem}", *problem.hints)


def _names(record: Mapping, groups: Sequence[Sequence[str]]) -> str:
    return ", ".join(next(name for name in group if name in record) for group in groups)


def _is_review(record: Mapping) -> bool:
    return all(any(name in record for name in names) for names in (_USER, _PLAIN_ITEM, _TEXT))


def _is_item(record: Mapping) -> bool:
    """Items have a title or description and nothing that only a review has; with a description, a rating may be an average."""
    return (
        any(name in record for name in _PLAIN_ITEM)
        and ("description" in record or "title" in record)
        and not any(name in record for name in (*_USER, *_TEXT, *_TIMESTAMP))
        and ("description" in record or not any(name in record for name in _RATING))
    )


def _review(record: Mapping, item_names: Sequence[str]) -> Review:
    return Review(
        user_id=fields.identifier(fields.first(record, _USER), "user id"),
        asin=fields.identifier(fields.first(record, item_names), "item id"),
        text=fields.body(fields.first(record, _TEXT)),
        rating=_rating(record),
        title=fields.words(fields.first(record, _TITLE), "title"),
        timestamp=_timestamp(record),
        superseded=fields.hashes(record.get("superseded")),
    )


def _rating(record: Mapping) -> float | None:
    """The rating. When it is none, the BadField tells what is wrong with the timestamp too, so that both are mended at once."""
    try:
        return fields.rating(fields.first(record, _RATING))
    except BadField as problem:
        try:
            _timestamp(record)
        except BadField as other:
            raise BadField(f"{problem}; {other}", *problem.hints, *other.hints) from None
        raise


def _timestamp(record: Mapping) -> float | None:
    return fields.timestamp(fields.first(record, _TIMESTAMP))


def _item(record: Mapping, item_names: Sequence[str]) -> Item:
    return Item(
        asin=fields.identifier(fields.first(record, item_names), "item id"),
        title=fields.words(record.get("title"), "title"),
        description=fields.words(record.get("description"), "description"),
        task=fields.words(record.get("task"), "task"),
    )
