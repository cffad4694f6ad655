"""`dep ingest`: tables with names of their own, the filter and its table, and every bad line in a file."""

from __future__ import annotations

import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from depcli.cli import main

ROWS = [f'{u},{i},"person {u} on thing {i}, at length",4' for u in "abcd" for i in "xyz"]
COLUMNS = ["--column", "user_id=who", "--column", "asin=what", "--column", "text=said"]


@pytest.fixture
def table(tmp_path):
    """A CSV of 4 people x 3 things, a lonely review, and two lines that are no use."""
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["who,what,said,stars", *ROWS, "e,w,alone,4", "e,w,,4", "short"]))
    return path


def umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def told(capsys, *arguments):
    assert main(["ingest", "--embedder", "minilm", "--offline", *map(str, arguments)]) == 0
    return capsys.readouterr()


def test_a_csv_whose_every_bad_line_is_noted(table, tmp_path, capsys):
    os.mkfifo(pipe := tmp_path / "pipe", 0o622)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    told(capsys, table, *COLUMNS, "--bad-lines", pipe)
    os.close(reader)
    assert pipe.stat().st_mode & 0o777 == 0o622 & ~umask(), "a device or a pipe stays what it is"
    (tmp_path / "bad.jsonl").touch(0o644)
    said = told(capsys, table, *COLUMNS, "--bad-lines", tmp_path / "bad.jsonl", "--json")
    assert (tmp_path / "bad.jsonl").stat().st_mode & 0o777 == 0o600
    (report,) = json.loads(said.out)["files"]
    assert (report["reviews"], report["bad_lines"]) == (13, 2)
    noted = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(line["file"], line["line"], line["reason"]) for line in noted] == [
        (str(table), 15, "the text is blank"),
        (str(table), 16, "1 cell where the header has 4 columns"),
    ]
    assert (tmp_path / "bad.jsonl").stat().st_mode & 0o077 == 0, "it holds what people wrote"


def test_items_without_words_are_counted_where_they_are_read_and_written_about(tmp_path, capsys):
    rows = [{"user_id": "u", "asin": f"i{n}", "text": f"words {n}"} for n in range(4)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "items.jsonl").write_text("".join(json.dumps({"asin": f"i{n}", "title": "T" * (n < 2)}) + "\n" for n in range(5)))
    said = told(capsys, tmp_path / "r.jsonl")
    assert "without a time: 4 of 4 reviews" in said.err
    assert "without title and description: 4 of 4 items" in said.err and "--items" in said.err
    said = told(capsys, tmp_path / "r.jsonl", "--items", tmp_path / "items.jsonl", "--json")
    assert json.loads(said.out)["undescribed_items"] == 3 and json.loads(said.out)["store"]["items"] == 5
    ask = ["write", "--user", "u", "--method", "nonperso", "--max-new-tokens", "2"]
    for item, words in (("i3", True), ("i0", False)):
        assert main([*ask, "--item", item]) == 0
        assert (f"nothing is known of {item}" in capsys.readouterr().err) == words


def test_names_of_columns_are_those_of_both_files(tmp_path, capsys):
    (tmp_path / "r.csv").write_text("Title,Review\nOne,Good.\nTwo,Bad.\n")
    (tmp_path / "i.csv").write_text("Title,Blurb\nOne,A film.\nTwo,Another.\n")
    columns = ["--user", "me", "--column", "asin=Title", "--column", "text=Review", "--column", "item_description=Blurb"]
    said = told(capsys, tmp_path / "r.csv", "--items", tmp_path / "i.csv", *columns, "--json")
    assert json.loads(said.out)["undescribed_items"] == 0 and json.loads(said.out)["store"]["reviews"] == 2
    assert main(["ingest", str(tmp_path / "r.csv"), *columns]) == 5  # without --items it must be there
    assert "no column 'Blurb'" in capsys.readouterr().err


def test_what_cannot_be_used_is_called_what_it_is(tmp_path, capsys):
    """A parquet file has rows, a JSON array elements, and only the others lines."""
    rows = [{"user_id": "u", "asin": asin, "text": text} for asin, text in (("i", "good"), ("j", " "), *[("k", "")] * 7)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=2))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, unit in (("a.parquet", "row"), ("a.json", "element"), ("a.jsonl", "line")):
        file = tmp_path / name
        said = told(capsys, file)
        assert f"{file}, {unit} 2: the text is blank" in said.err and f"{file}: 3 more such {unit}s" in said.err
        assert f"8 bad {unit}s left out" in said.out
        assert main(["ingest", str(file), "--strict"]) == 5
        err = capsys.readouterr().err
        assert f"{file}, {unit} 2: the text is blank" in err and f"to skip such {unit}s" in err
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "b.parquet")
    assert main(["ingest", str(tmp_path / "b.parquet")]) == 5
    assert f"error: no row of {tmp_path / 'b.parquet'} can be used; row 1: the text is blank" in capsys.readouterr().err


def test_the_filter_says_what_it_dropped_and_keeps_the_rest(table, capsys):
    off = {"text": 5, "title": 0, "dated": 0, "rated": 0, "item_title": 0, "description": 0, "targets": 1, "profile": 2}
    limits = [
        f"--threshold={rule}={number}" for rule, number in (off | {"reviewers": 4, "reviews": 3, "profile_reviewers": 2}).items()
    ]
    said = told(capsys, table, *COLUMNS, "--filter", "dpl", *limits)
    assert "item with fewer than 4 reviewers" in said.out and "the filter keeps 12 reviews by 4 users, 3 items" in said.out
    document = json.loads(told(capsys, table, *COLUMNS, "--filter", "dpl", *limits, "--json").out)
    assert document["store"] == {"reviews": 12, "users": 4, "items": 3} and document["filter"]["thresholds"]["reviewers"] == 4
    assert sum(one["reviews"] for one in document["filter"]["dropped"]) == 1 and document["files"][0]["bad_lines"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--threshold", "reviews=3"], 2, "--threshold is for --filter"),
        ([*COLUMNS, "--filter", "dpl", "--threshold", "word=3"], 2, "no threshold 'word'; known: text, title"),
        ([*COLUMNS, "--filter", "dpl", "--threshold", "reviews=-3"], 2, "not a whole number from 0 upwards"),
        (["--filter", "dpl", "--threshold", "reviews=many"], 2, "not a valid integer"),
        (["--column", "text"], 2, "is not FIELD=NAME"),
        (["--column", "body=said"], 2, "no field 'body'; known: user_id, asin, text"),
        (["--format", "excel"], 2, "'excel' is not one of 'jsonl', 'csv'"),
        (["-", "-"], 2, "standard input can be read once only"),
        (["-", "--items", "-"], 2, "standard input can be read once only"),
        ([*COLUMNS, "--column", "text=other"], 2, "--column names text more than once"),
        ([*COLUMNS, "--filter", "dpl"], 5, "the filter keeps no review"),
        ([*COLUMNS[:-1], "text=nothing"], 5, "has no column 'nothing'"),
        (["--format", "parquet"], 5, "is not parquet"),
        (["--filter", "dpl", "-"], 2, "standard input cannot be"),
        ([*COLUMNS, "--bad-lines", "/nowhere/bad"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be(table, tmp_path, capsys, arguments, code, words):
    assert main(["ingest", str(table), "--embedder", "minilm", "--offline", *arguments]) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "profiles").exists()


def test_a_file_of_which_nothing_can_be_used_is_an_error_after_the_others_were_read(table, tmp_path, capsys):
    useless = tmp_path / "useless.csv"
    useless.write_text("who,what,said\nu,x,\nv,y,  \n")
    ask = ["ingest", str(useless), str(table), *COLUMNS, "--embedder", "minilm", "--offline", "--json"]
    assert main(ask) == 5
    out, err = capsys.readouterr()
    assert json.loads(out)["store"]["reviews"] == 13 and [file["bad_lines"] for file in json.loads(out)["files"]] == [2, 2]
    assert f"{useless}, line 2: the text is blank: u | x |" in err
    assert f"error: no line of {useless} can be used; line 2: the text" in err
    assert main(ask[:-1]) == 5, "known or not, the other file is none of it"


def test_every_kind_of_bad_value_is_told_with_the_forms_that_are_read(tmp_path, capsys):
    """Once the names of the columns were blamed, and the dates only after the ratings had been mended."""
    rows = ["who,what,said,rating,date", "u,i,good,4/5,17.05.2025", "v,i,fair,3/5,18.05.2025", "w,i,bad,11,"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert main(["ingest", str(tmp_path / "a.csv"), *COLUMNS, "--embedder", "minilm", "--offline"]) == 5
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert "line 2: the rating '4/5' is not a number; the timestamp '17.05.2025' is neither" in error
    assert "--column" not in hint
    assert hint.count("a rating is a number above 0 and at most 10") == hint.count("a time is seconds since 1970, or a date") == 1
    assert main(["ingest", str(tmp_path / "a.csv"), *COLUMNS, "--strict"]) == 5
    assert "a date such as 2009-05-31" in capsys.readouterr().err


def test_standard_input_is_called_so(tmp_path, monkeypatch, capsys):
    row = b'{"user_id": "u", "asin": "i", "text": "words"}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(row))))
    said = told(capsys, "-")
    assert "standard input: read as jsonl" in said.err and "standard input: 1 review read" in said.out
    assert main(["log"]) == 0 and "ingest: 1 added; standard input" in capsys.readouterr().out


def test_formats_on_the_command_line_are_those_of_the_readers():
    from depcli.cli.commands.ingest import FORMATS
    from depcli.readers import formats

    assert FORMATS == formats.FORMATS


def test_bad_lines_take_the_place_of_bad_lines_alone(table, tmp_path, capsys):
    other, before = tmp_path / "other.jsonl", table.read_bytes()
    other.write_text('{"user_id": "u"}\n')
    for name in (str(table), f"{tmp_path}/../{tmp_path.name}/{table.name}", str(other)):
        assert main(["ingest", str(table), *COLUMNS, "--bad-lines", name]) == 1
        assert "holds something else than bad lines" in capsys.readouterr().err
    assert table.read_bytes() == before and other.read_text() == '{"user_id": "u"}\n'
    for _ in range(2):
        told(capsys, table, *COLUMNS, "--bad-lines", tmp_path / "bad.jsonl")
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 2


def test_what_another_version_outdates_is_counted_apart_and_named(tmp_path, capsys):
    diary = tmp_path / "diary.csv"
    diary.write_text("asin,text,timestamp\nA,first,2010-01-01\nB,other,2011-01-01\nA,second,2020-01-01\nA,undated,\n")
    said = told(capsys, diary, "--user", "me")
    assert "4 reviews read" in said.out and ": 2 added, 2 outdated\n" in said.out
    assert "diary.csv: 2 reviews outdated" in said.err and "of user 'me' about item 'A'" in said.err
    diary.write_text("asin,text,timestamp\nA,corrected,2019-01-01\nB,other,2011-01-01\n")
    (report,) = json.loads(told(capsys, diary, "--user", "me", "--json").out)["files"]
    assert (report["unchanged"], report["outdated"], report["first_outdated"]) == (1, 1, ["me", "A"])
    assert main(["log", "--limit", "1"]) == 0
    assert "ingest: 2 added; diary.csv" in " ".join(capsys.readouterr().out.split())
