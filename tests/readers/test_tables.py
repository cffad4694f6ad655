"""Delimited text gives what the same rows in JSON give; what is broken is said with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depcli.errors import BadInput
from depcli.readers import BadLine, files, open_reviews, read_items, tables
from depcli.records import Item, Review

AMAZON = {"user_id": "customer_id", "asin": "product_id", "text": "review_body", "item_title": "product_title"}
ROW = {"user_id": "u", "asin": "i", "text": "words", "rating": 4.0, "title": "t", "timestamp": 10}


def written(path, rows, delimiter=",", **options):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, **options).writerows(rows)
    return path


@pytest.mark.parametrize(("delimiter", "said"), [(",", "commas"), ("\t", "tabs"), (";", "semicolons")])
def test_a_table_with_other_names_gives_reviews_and_the_items_in_them(tmp_path, delimiter, said):
    rows = [list(AMAZON.values()) + ["star_rating"], ["c1", "p1", 'He said "no",\nand; left\t.', "A Kettle", "4"]]
    reader = open_reviews(written(tmp_path / "a", rows, delimiter), columns={**AMAZON, "rating": "star_rating"})
    assert reader.format == "csv" and reader.reason.startswith(f"5 columns between {said}")
    assert list(reader) == [Item("p1", "A Kettle"), Review("c1", "p1", 'He said "no",\nand; left\t.', 4.0)]


def test_names_that_are_known_need_no_option_and_gzip_changes_nothing(tmp_path):
    content = b"user_id,asin,text,date\nu,i,words,2020-05-05\n"
    for data in (
        content,
        gzip.compress(content),
        b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
        content.replace(b"\n", b"\r"),
    ):
        (tmp_path / "a").write_bytes(data)
        assert list(open_reviews(tmp_path / "a")) == [Review("u", "i", "words", timestamp=1588636800.0)]


def test_mixed_line_ends_and_blank_lines(tmp_path):
    (tmp_path / "a").write_bytes(b"user_id,asin,text\r\n\nu1,i,one\ru2,i,two\r\n\r\nu3,i,three")
    assert [(review.user_id, review.text) for review in open_reviews(tmp_path / "a")] == [
        ("u1", "one"),
        ("u2", "two"),
        ("u3", "three"),
    ]


def test_every_unusable_row_is_named_with_its_line(tmp_path):
    content = (
        b"user_id,asin,text,rating\n"  # 1
        b'u1,i,"two\nlines",5\n'  # 2
        b"u2,i,short\n"  # 4
        b"u3,i,\xff\xfe,5\n"  # 5
        b'u4,i,"bad"quotes,5\n'  # 6
        b"u5,i,  ,5\n"  # 7
        b"u6,i,good,eleven\n"  # 8
        b"u7,i,a,b,c\n"  # 9
        b",i,a,5\n"  # 10
        b"u8,i,nul \x00 byte,5\n"  # 11
    )
    (tmp_path / "a.csv").write_bytes(content)
    entries = list(open_reviews(tmp_path / "a.csv"))
    bad = {entry.line_number: entry.reason for entry in entries if isinstance(entry, BadLine)}
    assert [entry.user_id for entry in entries if isinstance(entry, Review)] == ["u1", "u8"]
    assert list(bad) == [4, 5, 6, 7, 8, 9, 10]
    beginnings = {entry.line_number: entry.excerpt for entry in entries if isinstance(entry, BadLine)}
    assert beginnings[4] == "u2 | i | short" and beginnings[5] == "u3 | i | \ufffd\ufffd | 5"
    for line, words in {
        4: "3 cells",
        5: "not valid UTF-8 in column 'text'",
        6: "quotes",
        7: "blank",
        8: "eleven",
        9: "5 cells",
    }.items():
        assert words in bad[line]
    assert entries[-1].text == "nul \x00 byte"


@pytest.mark.parametrize("rest", ["", "u3,i,more\n" * 5000])
def test_a_quote_that_is_never_closed_keeps_what_stands_before_it(tmp_path, monkeypatch, rest):
    monkeypatch.setattr(tables, "MAX_CELL", 10_000)
    (tmp_path / "a.csv").write_text(f'user_id,asin,text\nu1,i,one\nu2,i,"open\n{rest}')
    read = []
    with pytest.raises(BadInput, match=r'a cell that begins at line 3 does not end( and takes in lines 3 to \d+)?: u2,i,"open'):
        for entry in open_reviews(tmp_path / "a.csv"):
            read.append(entry)
    assert read == [Review("u1", "i", "one")]


def test_all_lines_that_an_open_quote_swallows_are_named_and_counted(tmp_path):
    """They were one bad line without a beginning."""
    (tmp_path / "a.csv").write_text('user_id,asin,text\nu1,i,"open\n\nu2,i,two\nu3,i,"three"\nu4,i,four\n')
    *bad, review = open_reviews(tmp_path / "a.csv")
    assert review == Review("u4", "i", "four")
    assert [(line.line_number, line.excerpt) for line in bad] == [(2, 'u1,i,"open'), (4, "u2,i,two"), (5, 'u3,i,"three"')]
    assert "lines 2 to 5 are one row" in bad[0].reason and all("in one row with line 2" in line.reason for line in bad[1:])


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;\r\n"])
@pytest.mark.parametrize("form", [None, "csv", "tsv"])
def test_excel_s_line_that_names_the_delimiter(tmp_path, first, form):
    (tmp_path / "a.csv").write_text(f"{first}\nuser_id;asin;text,or,not\nu;i;words, words, words\nu;i\n", newline="")
    reader = open_reviews(tmp_path / "a.csv", form, {"text": "text,or,not"})
    assert "3 columns between semicolons" in reader.reason
    review, bad = reader
    assert review == Review("u", "i", "words, words, words") and bad.line_number == 4 + first.count("\n")


def test_quotes_mean_nothing_in_tsv(tmp_path):
    (tmp_path / "a.tsv").write_text('user_id\tasin\ttext\nu1\ti\t"Great" product\nu2\ti\t"open\nu3\ti\tlast\n')
    texts = [review.text for review in open_reviews(tmp_path / "a.tsv", "tsv")]
    assert texts == ['"Great" product', '"open', "last"]


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        ("who,what,said\na,b,c\n", {}, "cannot tell what .* holds: its first line, where the names .* belong, has who, what"),
        ("user_id,asin,text\na,b,c\n", {"text": "body"}, "has no column 'body'"),
        ("user_id,asin,text\na,b,c\n", {"texts": "text"}, "no field 'texts'"),
        ("user_id,asin,text,text\na,b,c,d\n", {}, "two columns called 'text'"),
        ("user_id,asin,text\n", {}, "a.csv names its columns and has no rows"),
        ("user_id,asin,text\nu,i\nv,i\n", {}, "no row of .*a.csv can be read, of 2 that were tried: line 2: 2 cells"),
        ('user_id,asin,"text\n', {}, "a cell that begins at line 1 does not end"),
    ],
)
def test_tables_that_are_no_use(tmp_path, content, columns, words):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(BadInput, match=words):
        list(open_reviews(tmp_path / "a.csv", columns=columns))


def test_what_is_still_missing_is_named_beside_every_column(tmp_path):
    names = [*(f"c{number}" for number in range(13)), "My Review"]
    (tmp_path / "a.csv").write_text(f"{','.join(names)}\n{','.join(names)}\n")
    with pytest.raises(BadInput, match="c12, My Review$") as told:
        open_reviews(tmp_path / "a.csv", columns={"text": "My Review", "asin": "c0"})
    assert "(missing: user_id)" in told.value.hint
    with pytest.raises(BadInput) as told:
        open_reviews(tmp_path / "a.csv")
    assert "missing" not in told.value.hint


def test_json_lines_are_no_table_whatever_commas_stand_on_the_first_one(tmp_path):
    (tmp_path / "a").write_text("broken, line\n" + json.dumps(ROW) + "\n")
    bad, review = open_reviews(tmp_path / "a")
    assert bad.line_number == 1 and review.text == "words"


def test_columns_of_json_objects(tmp_path):
    (tmp_path / "a").write_text(
        json.dumps({"who": "u", "what": "i", "said": ["nested"]}) + "\n" + json.dumps({"who": "u", "what": "i", "said": "words"})
    )
    bad, review = open_reviews(tmp_path / "a", columns={"user_id": "who", "asin": "what", "text": "said"})
    assert bad.reason == "the text is a list, not a string" and review == Review("u", "i", "words")


def test_a_table_of_items_with_the_names_of_the_reviews(tmp_path):
    path = written(tmp_path / "a", [["product_id", "product_title", "plot"], ["p1", "A Film", "Somebody dies."]])
    assert list(read_items(path, {**AMAZON, "item_description": "plot"})) == [Item("p1", "A Film", "Somebody dies.")]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"user_id,asin,text\nu,i,words\n"))))
    assert list(open_reviews("-")) == [Review("u", "i", "words")] and not sys.stdin.buffer.closed


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1).filter(str.strip)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_what_a_csv_writer_writes_is_read_as_it_was(tmp_path, rows, delimiter):
    path = written(tmp_path / "a.csv", [["user_id", "asin", "text"], *rows], delimiter)
    assert list(open_reviews(path)) == [Review(*row) for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_rows_longer_than_what_is_read_at_once(tmp_path, monkeypatch, end):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 7)  # every row, and many a quote, line end and character of two bytes, is cut
    texts = ["schön " * 9 + "é", 'said ""no"" and "yes", twice', "a\nb" if end != "\r" else "a, b", "plain words"]
    rows = [(f"ü{n}", "i", text) for n, text in enumerate(texts)]
    written(tmp_path / "a.csv", [["user_id", "asin", "text"], *rows], lineterminator=end)
    assert list(open_reviews(tmp_path / "a.csv")) == [Review(*row) for row in rows]


def test_columns_without_a_name_mean_nothing(tmp_path):
    (tmp_path / "a.csv").write_text(",user_id,asin,text,,\n0,u,i,words,,\n")  # pandas numbers rows, spreadsheets pad them
    assert list(open_reviews(tmp_path / "a.csv")) == [Review("u", "i", "words")]


def test_a_long_row_is_one_row(tmp_path):
    """Its first piece was a review of its own once, cut off without a word."""
    path = written(tmp_path / "a.csv", [["user_id", "asin", "text"], ["u", "i", "word " * 500_000], ["v", "i", "short"]])
    assert [len(review.text) for review in open_reviews(path)] == [2_500_000, 5]


def test_blank_lines_before_the_names(tmp_path):
    (tmp_path / "a").write_text("\n\nuser_id,asin,text\nu,i,words\n")
    assert list(open_reviews(tmp_path / "a", "csv")) == [Review("u", "i", "words")]
