"""Whatever a line holds, it is a Review, an Item or a BadLine, and what is no BadLine can be stored."""

from __future__ import annotations

import gzip
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depcli.errors import BadInput
from depcli.readers import FORMATS, BadLine, open_reviews, read_items
from depcli.records import Item, Review
from depcli.store.schema import item_rows, review_keys

NAMES = (
    "user_id",
    "asin",
    "parent_asin",
    "item_id",
    "text",
    "review",
    "title",
    "rating",
    "timestamp",
    "date",
    "description",
    "superseded",
    "other",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["u", "4.5", "nan", "1e400", "2020-01-01", "\ud800", "\x00", "", " ", 10**30, -(10**400), 1e308, 0, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
GOOD = {"user_id": "u", "asin": "i", "text": "words"}
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
LINES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    VALUES.map(lambda value: json.dumps(value).encode()),
    OBJECTS.map(lambda record: json.dumps(record).encode()),
    OBJECTS.map(lambda record: json.dumps(GOOD | record, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.tuples(OBJECTS, st.integers(0, 200)).map(lambda cut: json.dumps(GOOD | cut[0]).encode()[: cut[1]]),
    st.integers(1, 100_000).map(lambda depth: b"[" * depth),
)
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)


def is_fine(entry) -> bool:
    """A record of the right types whose ids can be stored and whose numbers can be computed with, or a reason."""
    if isinstance(entry, BadLine):
        return entry.line_number > 0 and bool(entry.reason) and entry.excerpt.isprintable()
    if isinstance(entry, Item):
        return bool(entry.asin.strip()) and item_rows([entry]).num_rows == 1
    numbers = [number for number in (entry.rating, entry.timestamp) if number is not None]
    texts = (entry.user_id, entry.asin, entry.text, entry.title)
    return (
        isinstance(entry, Review)
        and all(type(number) is float and math.isfinite(number) for number in numbers)
        and all(text == text.encode().decode() for text in texts)
        and len(review_keys([(entry.user_id, entry.asin)])[0]) == 16
        and bool(entry.user_id.strip() and entry.asin.strip() and entry.text.strip())
        and all(type(version) is bytes and len(version) == 16 for version in entry.superseded)
    )


@FUZZ
@given(st.lists(LINES, min_size=1, max_size=12), st.sampled_from(FORMATS))
def test_any_lines_in_any_format(tmp_path, lines, form):
    file = tmp_path / "reviews.jsonl"
    file.write_bytes(json.dumps(GOOD).encode() + b"\n" + b"\n".join(lines))
    try:
        found = list(open_reviews(file, form))
    except BadInput as error:
        assert error.message and form in (
            "csv",
            "tsv",
            "parquet",
        )  # which are files of another kind, and may end in an open quote
        return
    assert all(map(is_fine, found))
    if form == "jsonl":
        assert found[0] == Review("u", "i", "words")


@FUZZ
@given(st.binary(max_size=200) | st.lists(LINES, max_size=4).map(b"\n".join), st.booleans())
def test_any_file_at_all_is_read_or_refused(tmp_path, content, zipped):
    file = tmp_path / "file"
    file.write_bytes(gzip.compress(content)[: len(content) + 15] if zipped else content)
    for read in (open_reviews, read_items):
        try:
            assert all(map(is_fine, read(file)))
        except BadInput as error:
            assert error.message


@FUZZ
@given(st.lists(OBJECTS, min_size=1, max_size=6), st.integers(0, 400))
def test_any_array_is_read_up_to_where_it_breaks(tmp_path, records, cut):
    file = tmp_path / "reviews.json"
    file.write_bytes(json.dumps([GOOD, *records]).encode()[: 60 + cut])
    found = []
    try:
        for entry in open_reviews(file):
            found.append(entry)
    except BadInput:
        pass
    assert all(map(is_fine, found)) and found[:1] == [Review("u", "i", "words")]


@pytest.mark.parametrize("value", ["\ud800", "\x00", "4,5", [1], ["ab"], ["0" * 32], {"a": 1}, True, 1e999, "9" * 5000, -1, 0])
@pytest.mark.parametrize("name", NAMES)
def test_every_field_takes_any_value_or_says_why_not(tmp_path, name, value):
    file = tmp_path / "reviews.jsonl"
    file.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | {name: value}) + "\n")
    first, second = open_reviews(file, "jsonl")
    assert first == Review("u", "i", "words") and is_fine(second)
