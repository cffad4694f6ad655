"""The formats: from one JSON object to a Review or an Item.

jsonl        plain: user_id, asin, text and maybe rating, title, timestamp; other names in use are understood
amazon2023   Amazon Reviews 2023: reviews and item metadata, both keyed by parent_asin
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from depcli.readers import fields
from depcli.records import Item, Review

_USER = ("user_id", "reviewerID", "user")
_TEXT = ("text", "reviewText", "review")
_RATING = ("rating", "overall", "score")
_TITLE = ("title", "summary")
_TIMESTAMP = ("timestamp", "unixReviewTime", "date")
_PLAIN_ITEM = ("asin", "item_id", "parent_asin")
_AMAZON_ITEM = ("parent_asin", "asin")  # variants of a product share its parent_asin, and reviews are about the product

_ANY_ITEM = ("parent_asin", "asin", "item_id")


def jsonl(record: Mapping) -> Review | Item:
    return _item(record, _PLAIN_ITEM) if _is_item(record) else _review(record, _PLAIN_ITEM)


def amazon2023(record: Mapping) -> Review | Item:
    return _item(record, _AMAZON_ITEM) if _is_item(record) else _review(record, _AMAZON_ITEM)


def item(record: Mapping) -> Item:
    """A line of an items file, in either format."""
    return _item(record, _ANY_ITEM)


PARSERS = {"jsonl": jsonl, "amazon2023": amazon2023}


def detect(record: Mapping) -> tuple[str, str] | None:
    """(format, reason) when this object is enough to tell."""
    if "parent_asin" in record and (_is_item(record) or _is_review(record)):
        what = "item metadata" if _is_item(record) else "reviews"
        return "amazon2023", f"its objects are {what} with parent_asin"
    if _is_item(record):
        return "jsonl", f"its objects have {_names(record, (_PLAIN_ITEM, ('title', 'description')))}, and no user"
    if _is_review(record):
        return "jsonl", f"its objects have {_names(record, (_USER, _PLAIN_ITEM, _TEXT))}"
    return None


def detect_items(record: Mapping) -> tuple[str, str] | None:
    """(format, reason) when this object can be a line of an items file."""
    if not any(name in record for name in _ANY_ITEM) or not ("title" in record or "description" in record):
        return None
    return ("amazon2023", "its objects have parent_asin") if "parent_asin" in record else ("jsonl", "its objects have asin")


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
        rating=fields.rating(fields.first(record, _RATING)),
        title=fields.words(fields.first(record, _TITLE), "title"),
        timestamp=fields.timestamp(fields.first(record, _TIMESTAMP)),
        superseded=fields.hashes(record.get("superseded")),
    )


def _item(record: Mapping, item_names: Sequence[str]) -> Item:
    return Item(
        asin=fields.identifier(fields.first(record, item_names), "item id"),
        title=fields.words(record.get("title"), "title"),
        description=fields.words(record.get("description"), "description"),
    )
