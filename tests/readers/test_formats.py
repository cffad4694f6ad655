"""From a JSON object to a record: formats told apart, fields checked one by one."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depcli.errors import BadInput
from depcli.readers import BadLine, fields, open_reviews, read_items
from depcli.readers.entries import BadField
from depcli.records import Item, Review

GOOD = {"user_id": "u", "asin": "i", "text": "words", "rating": 4, "title": "t", "timestamp": 10}


def read(tmp_path, *rows, format=None, reader=open_reviews):
    """Entries of a file with these rows: objects, or bytes as they are."""
    path = tmp_path / "file.jsonl"
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return open_reviews(path, format) if reader is open_reviews else reader(path)


def test_plain_lines_with_the_names_in_use(tmp_path):
    other = {"reviewerID": "u", "asin": "i", "reviewText": "words", "overall": 4.0, "summary": "t", "unixReviewTime": 10}
    third = {"user": "u", "item_id": "i", "review": "words", "score": "4", "title": "t", "date": "1970-01-01T00:00:10Z"}
    for row in (GOOD, other, third, {**GOOD, "asin": None, "item_id": "i"}):
        reader = read(tmp_path, row)
        assert (reader.format, list(reader)) == ("jsonl", [Review("u", "i", "words", 4.0, "t", 10.0)])


def test_amazon_2023_reviews_are_about_the_parent_item_and_timed_in_milliseconds(tmp_path):
    row = {
        "rating": 5.0,
        "title": "Great",
        "text": "Works.",
        "images": [],
        "asin": "VARIANT",
        "parent_asin": "PRODUCT",
        "user_id": "AE",
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    reader = read(tmp_path, row)
    assert reader.format == "amazon2023" and "parent_asin" in reader.reason
    assert list(reader) == [Review("AE", "PRODUCT", "Works.", 5.0, "Great", 1588687728.923)]


def test_amazon_2023_metadata(tmp_path):
    row = {
        "main_category": "X",
        "title": "Thing",
        "average_rating": 4.8,
        "rating_number": 10,
        "features": [],
        "parent_asin": "PRODUCT",
        "description": ["One.", "", "Two."],
        "price": None,
        "store": "S",
        "details": {},
    }
    for reader in (read(tmp_path, row), read(tmp_path, row, reader=read_items)):
        assert (reader.format, list(reader)) == ("amazon2023", [Item("PRODUCT", "Thing", "One.\nTwo.")])


def test_a_named_format_is_taken_at_its_word_and_an_unknown_one_refused(tmp_path):
    row = {**GOOD, "parent_asin": "p"}
    assert [entry.asin for entry in read(tmp_path, row, format="jsonl")] == ["i"]
    assert read(tmp_path, row, format="amazon2023").reason == "as named"
    with pytest.raises(BadInput, match="no format 'xml'"):
        read(tmp_path, row, format="xml")
    with pytest.raises(BadInput, match="is not parquet"):
        read(tmp_path, row, format="parquet")
    for name in ("jsonl", "lamp"):
        with pytest.raises(BadInput, match=f"is not {name}: line 1: not JSON"):
            read(tmp_path, b"user_id,asin,text\nu,i,words", format=name)


def test_a_review_that_lacks_user_and_text_is_not_taken_for_an_item(tmp_path):
    entries = list(read(tmp_path, GOOD, {"asin": "i", "title": "Loved it", "rating": 5}, {"asin": "i", "title": "A film"}))
    assert isinstance(entries[1], BadLine) and entries[1].reason == "no user id"
    assert entries[2] == Item("i", "A film")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "no user id"),
        ({"user_id": ""}, "no user id"),
        ({"user_id": "  "}, "the user id is blank"),
        ({"user_id": ["u"]}, "the user id is a list, not a string"),
        ({"user_id": True}, "the user id is true or false, not a string"),
        ({"user_id": 1.5}, "the user id is a number, not a string"),
        ({"user_id": "\ud800"}, "the user id has half a character"),
        ({"user_id": "a\0b"}, "the user id has a NUL character"),
        ({"asin": None}, "no item id"),
        ({"text": None}, "no text"),
        ({"text": " \n\t "}, "the text is blank"),
        ({"text": 5}, "the text is a number, not a string"),
        ({"title": {}}, "the title is an object, not a string"),
        ({"rating": "five"}, "the rating 'five' is not a number"),
        ({"rating": float("nan")}, "the rating nan is not above 0 and at most 10"),
        ({"rating": float("inf")}, "the rating inf is not above 0"),
        ({"rating": "NaN"}, "the rating 'NaN' is not above 0"),
        ({"rating": 11}, "the rating 11 is not above 0 and at most 10"),
        ({"rating": -1}, "the rating -1 is not above 0"),
        ({"rating": True}, "the rating True is not a number"),
        ({"rating": "1_0"}, "is not a number"),
        ({"rating": [4]}, "is not a number"),
        ({"rating": 10**400}, "is not above 0"),
        ({"timestamp": "yesterday"}, "the timestamp 'yesterday' is neither a number nor an ISO date such as 2009-05-31"),
        ({"timestamp": float("nan")}, "the timestamp nan is no point in time"),
        ({"timestamp": 1e300}, "the timestamp 1e\\+300 is no point in time"),
        ({"timestamp": {}}, "is neither a number nor"),
    ],
)
def test_bad_fields(tmp_path, change, reason):
    first, bad, last = read(tmp_path, GOOD, {**GOOD, **change}, GOOD)
    assert isinstance(first, Review) and isinstance(last, Review)
    assert isinstance(bad, BadLine) and bad.line_number == 2 and re.search(reason, bad.reason)


def test_a_rating_of_0_is_none_and_what_is_out_of_range_says_so(tmp_path):
    unrated, bad = read(tmp_path, {**GOOD, "rating": 0}, {**GOOD, "rating": -1})
    assert unrated.rating is None and "or 0 where there is none" in bad.hints[0]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not JSON: "),
        (b'{"user_id": "\xff"}', "not valid UTF-8 at byte 14"),
        (b"[1, 2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"[" * 200_000, "not JSON: nested too deep"),
        (b'{"rating": ' + b"9" * 5000 + b"}", "holds a number that is too long"),
        (b"\x1b[31mred", "not JSON: "),
    ],
)
def test_bad_lines(tmp_path, raw, reason):
    first, bad, last = read(tmp_path, GOOD, raw, GOOD)
    assert isinstance(first, Review) and isinstance(last, Review)
    assert bad.line_number == 2 and bad.reason.startswith(reason)
    assert bad.excerpt.isprintable() and bad.excerpt[:1] == raw[:1].decode().replace("\x1b", "\ufffd") and len(bad.excerpt) <= 80


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        (1588687728, 1588687728.0),
        (1588687728923, 1588687728.923),
        ("1588687728923", 1588687728.923),
        (1588687728923000, 1588687728.923),
        (-86400, -86400.0),
        ("-86400", -86400.0),
        ("1970/01/02", 86400.0),
        ("1969-12-31", -86400.0),
        ("2020-05-05T14:08:48", 1588687728.0),
        ("2020-05-05T16:08:48+02:00", 1588687728.0),
        ("2020-05-05 14:08:48Z", 1588687728.0),
        ("1970-1-2", 86400.0),
        ("1970/1/2 00:00:01", 86401.0),
        ("1970-02", 2678400.0),
    ],
)
def test_timestamps(value, seconds):
    assert fields.timestamp(value) == seconds


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2019", (2019, 1, 1)),
        ("2019.0", (2019, 1, 1)),
        ("1900", (1900, 1, 1)),
        ("20190311", (2019, 3, 11)),
        (20190311, (2019, 3, 11)),
        (20190311.0, (2019, 3, 11)),
        (" 20190311 ", (2019, 3, 11)),
        ("21001231", (2100, 12, 31)),
    ],
)
def test_years_and_days_in_digits_are_no_seconds(value, date):
    """They once were an hour of 1970, or its August."""
    assert fields.timestamp(value) == datetime(*date, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "value", [2019, 1003, "1003", "1899", "2101", "2019.5", 20191311, 20190230, 20190311.5, "-2019", 43535, "43535", 1552262400]
)
def test_other_numbers_are_seconds(value):
    assert fields.timestamp(value) == float(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0001-01-01T00:00+01:00", "before the year 1"),
        (-1e11, "before the year 1"),
        ("9999-12-31T23:59:59-01:00", "after the year 9999"),
        ("2019-13", "neither a number"),
        ("2019-3-x", "neither a number"),
        ("20090431", "20090431 is no day of the calendar"),
    ],
)
def test_what_no_calendar_has_is_no_time(value, reason):
    with pytest.raises(BadField, match=reason):
        fields.timestamp(value)


@pytest.mark.parametrize(("value", "rating"), [(None, None), ("", None), (0.5, 0.5), ("4.5", 4.5), (10, 10.0), (" 3 ", 3.0)])
def test_ratings(value, rating):
    assert fields.rating(value) == rating


def test_text_is_kept_as_it_is(tmp_path):
    for text in (" spaces  stay\n", "\x00\x07\x1b[31m [b]markup[/b]", "💜 e\u0301", "x" * 1_000_000, "<|im_end|>"):
        for user in ("../x", "O'Brien", 'a" OR 1=1', "💜", "a\nb", "007"):
            assert list(read(tmp_path, {**GOOD, "text": text, "user_id": user}))[0] == Review(user, "i", text, 4.0, "t", 10.0)
    assert list(read(tmp_path, {**GOOD, "text": "half \ud83d", "user_id": 7}))[0].text == "half \ufffd"
    assert list(read(tmp_path, {**GOOD, "user_id": 7}))[0].user_id == "7"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(_JSON)
def test_any_value_of_any_field_is_either_understood_or_a_bad_field(value):
    for parse in (fields.timestamp, fields.rating):
        try:
            number = parse(value)
        except BadField:
            continue
        assert number is None or math.isfinite(number)
    for parse in (lambda v: fields.identifier(v, "id"), fields.body, lambda v: fields.words(v, "title")):
        try:
            parse(value).encode()
        except BadField:
            continue


def test_somebody_s_own_export_has_no_user_column_and_marks_what_is_unrated_with_0(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(
        "Book Id,Title,My Rating,Date Read,My Review\n"
        '1,Emma,0,2021/04/02,"Slow, then not."\n2,Dune,5,,Sand.\n3,Ulysses,4,2020/01/01,\n'
    )
    columns = {"asin": "Book Id", "item_title": "Title", "rating": "My Rating", "timestamp": "Date Read", "text": "My Review"}
    with open_reviews(path, columns=columns, user="me") as reader:
        entries = list(reader)
    assert [entry for entry in entries if isinstance(entry, Review)] == [
        Review("me", "1", "Slow, then not.", None, "", 1617321600.0),
        Review("me", "2", "Sand.", 5.0, "", None),
    ]
    assert [entry.title for entry in entries if isinstance(entry, Item)] == ["Emma", "Dune"]
    assert [entry.reason for entry in entries if isinstance(entry, BadLine)] == ["the text is blank"]
    with pytest.raises(BadInput, match="cannot tell") as caught:
        open_reviews(path, columns=columns)
    assert "(missing: user_id) or --user ID" in f"{caught.value.message} {caught.value.hint}"


def test_a_user_who_is_named_writes_only_what_says_no_other(tmp_path):
    path = tmp_path / "file.jsonl"
    rows = [GOOD, {key: value for key, value in GOOD.items() if key != "user_id"}, {"asin": "i", "title": "An item"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open_reviews(path, user="me") as reader:
        one, other, item = reader
    assert (one.user_id, other.user_id, item) == ("u", "me", Item("i", "An item"))
