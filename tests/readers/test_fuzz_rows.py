"""Whatever a row of DPL, LaMP or LongLaMP holds, and whatever bytes a table holds, it is a record or a reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depcli.errors import BadInput
from depcli.readers import BadLine, open_reviews, read_requests
from depcli.records import Review, stable_order
from tests.readers.test_fuzz import FUZZ, VALUES, is_fine

ENTRIES = st.dictionaries(
    st.sampled_from("id asin title text abstract content summary reviewText description date rating".split()),
    st.text(max_size=6) | VALUES,
    max_size=5,
)
ROWS = st.fixed_dictionaries(
    {"profile": st.lists(ENTRIES | VALUES, max_size=4) | VALUES},
    optional={
        "id": VALUES,
        "user_id": VALUES,
        "reviewerId": VALUES,
        "name": VALUES,
        "output": VALUES,
        "data": ENTRIES | VALUES,
        "input": st.sampled_from(["Do this: that", "no colon", 'rating of "9..9" for a product with description.', ""]) | VALUES,
    },
)


@FUZZ
@given(st.lists(ROWS, min_size=1, max_size=5), st.sampled_from(["dpl", "lamp", "longlamp"]))
def test_any_rows(tmp_path, rows, form):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    found = list(open_reviews(file, form))
    assert all(map(is_fine, found))
    reviews = [entry for entry in found if isinstance(entry, Review)]
    for user in {review.user_id for review in reviews} if form != "dpl" else ():
        theirs = [review for review in reviews if review.user_id == user]
        assert len({review.asin for review in theirs}) == len(theirs)  # nothing takes another's place
        asked = [review for review in theirs if review.asin == f"{user}/target"]
        assert not asked or max(theirs, key=stable_order) == asked[0]
    assert len(list(read_requests(file))) == len(rows)


@FUZZ
@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b'"', b"u,i,words", b'u,i,"a\nb"', b"\r", b"\xff"]), max_size=12),
    st.booleans(),
)
def test_any_bytes_after_a_header(tmp_path, lines, quotes):
    file = tmp_path / "table"
    file.write_bytes(b"user_id,asin,text\n" + b"\n".join([b"u,i,words", *lines]))
    found = []
    try:
        for entry in open_reviews(file, "csv" if quotes else "tsv"):
            found.append(entry)
    except BadInput as error:
        assert quotes and "does not end" in error.message
    assert found[0] == Review("u", "i", "words") and all(map(is_fine, found))
    numbers = [entry.line_number for entry in found if isinstance(entry, BadLine)]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("size", [0, 3, 4, 7, 8, 40, 400])
def test_any_beginning_of_a_parquet_file(tmp_path, size):
    (tmp_path / "a").write_bytes((b"PAR1" + bytes(range(256)) * 2)[:size])
    with pytest.raises(BadInput):
        list(open_reviews(tmp_path / "a"))
