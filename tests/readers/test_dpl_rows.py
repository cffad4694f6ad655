"""Rows of DPL, a user with a profile each, in any file."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depcli.readers import BadLine, open_reviews
from depcli.records import Review
from tests.readers.test_tables import ROW


def test_rows_of_dpl_in_any_file(tmp_path):
    review = {"asin": "a", "title": "t", "text": "words", "rating": 5.0, "timestamp": 1588687728923}
    bad = {"asin": "b", "title": "t", "text": None, "rating": 5.0, "timestamp": 1}
    rows = [
        {"user_id": "u", "profile": [review, bad], "data": {**review, "asin": "c", "timestamp": 1588687729000}},
        {"user_id": "v", "profile": [], "data": review},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        reader = open_reviews(tmp_path / name)
        first, wrong, last, other = reader
        assert reader.format == "dpl"
        assert first == Review("u", "a", "words", 5.0, "t", 1588687728.923)
        assert (wrong.line_number, wrong.reason) == (1, "review 2 of the profile: no text")
        assert (last.asin, last.timestamp, other.user_id) == ("c", 1588687729.0, "v")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"user_id": "u", "data": {}}, "no profile"),
        ({"user_id": "u", "profile": "text", "data": {}}, "the profile is not a list"),
        ({"user_id": "u", "profile": {"asin": ["a"], "text": []}, "data": {}}, "the profile is not a list"),
        ({"profile": [], "data": {}}, "no user id"),
        ({"user_id": "u", "profile": [], "data": None}, "the data: not an object"),
        ({"user_id": "u", "profile": [[1]], "data": {**ROW}}, "review 1 of the profile: not an object"),
    ],
)
def test_rows_of_dpl_that_are_no_use(tmp_path, row, reason):
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert reason in [entry.reason for entry in open_reviews(tmp_path / "a.jsonl", "dpl") if isinstance(entry, BadLine)]


def test_a_profile_kept_column_by_column(tmp_path):
    row = {"user_id": "u", "profile": {"asin": ["a", "b"], "text": ["one", "two"]}, "data": {"asin": "c", "text": "three"}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert [(review.asin, review.text) for review in open_reviews(tmp_path / "a.jsonl")] == [
        ("a", "one"),
        ("b", "two"),
        ("c", "three"),
    ]
