"""What can be wrong with a file as a whole: each is BadInput with words that help, and what is good is read."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tracemalloc
from pathlib import Path

import pytest

from depcli.errors import BadInput, NotFound
from depcli.readers import BadLine, files, open_reviews, read_items
from depcli.records import Item, Review


def line(number: int, **more) -> str:
    return json.dumps({"user_id": f"u{number}", "asin": f"i{number}", "text": f"text {number}", **more})


def many(count: int) -> bytes:
    return "".join(line(number) + "\n" for number in range(count)).encode()


def texts(path) -> list[str]:
    return [entry.text for entry in open_reviews(path)]


@pytest.mark.parametrize("name", ["reviews.jsonl", "reviews.json", "reviews.txt"])
def test_plain_and_gzipped_are_told_apart_by_content_not_by_name(tmp_path, name):
    expected = [f"text {number}" for number in range(300)]
    for content in (many(300), gzip.compress(many(300)), gzip.compress(many(100)) + gzip.compress(many(300)[len(many(100)) :])):
        (tmp_path / name).write_bytes(content)
        assert texts(tmp_path / name) == expected


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_standard_input(monkeypatch, compress):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(compress(many(3))))))
    assert texts("-") == ["text 0", "text 1", "text 2"]
    assert not sys.stdin.buffer.closed


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_how_far_a_file_is_read(tmp_path, monkeypatch, compress):
    content = compress("".join(line(n, title=f"{n**9} {n**7}") + "\n" for n in range(20_000)).encode())
    (tmp_path / "a").write_bytes(content)
    reader = open_reviews(tmp_path / "a")
    positions = [reader.position for _ in reader]
    assert {size for _, size in positions} == {len(content)}
    read = [done for done, _ in positions]
    assert read == sorted(read) and 0 < read[0] < read[10_000] < read[-1] == len(content)
    assert len(content) * 0.3 < read[10_000] < len(content) * 0.7 and reader.position == (len(content), len(content))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    assert open_reviews("-").position is None


@pytest.mark.parametrize("space", ["", " ", "\n  "])
def test_json_array(tmp_path, space):
    rows = [line(number) for number in range(5)]
    rows.insert(2, '{"user_id": "half"}')
    (tmp_path / "a.json").write_text(f"{space}[{space}" + f"{space},{space}".join(rows) + f"{space}]{space}\n")
    entries = list(open_reviews(tmp_path / "a.json"))
    assert [entry.text for entry in entries if isinstance(entry, Review)] == [f"text {number}" for number in range(5)]
    assert [(entry.line_number, entry.reason) for entry in entries if isinstance(entry, BadLine)] == [(3, "no item id")]


def test_the_beginning_of_a_bad_element_is_one_line_that_can_be_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([json.loads(line(0)), {"user_id": "u", "asin": "i"}], indent=2))
    _, bad = open_reviews(tmp_path / "a.json")
    assert bad.excerpt == '{ "user_id": "u", "asin": "i" }'


def test_array_longer_than_what_is_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 7)  # every element, and every character of two bytes, is cut somewhere
    rows = [{"user_id": f"ü{number}", "asin": "ä", "text": "schön " * number + "é"} for number in range(9)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    assert [vars(review)["text"] for review in open_reviews(tmp_path / "a.json")] == [row["text"] for row in rows]


def test_broken_array_gives_what_stands_before_and_then_the_place(tmp_path):
    for tail in (", {'user_id'}]", ", {", ""):
        (tmp_path / "a.json").write_text(f"[{line(0)}, {line(1)}{tail}")
        entries = iter(open_reviews(tmp_path / "a.json"))
        assert [next(entries).text, next(entries).text] == ["text 0", "text 1"]
        with pytest.raises(BadInput, match="after element 2"):
            next(entries)


@pytest.mark.parametrize("between", ["", "\n", "," + " " * 50])
def test_what_follows_an_array_is_not_left_out_without_a_word(tmp_path, monkeypatch, between):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 7)
    (tmp_path / "a.json").write_text(f"[{line(0)}]{between}[{line(1)}]")
    entries = iter(open_reviews(tmp_path / "a.json"))
    assert next(entries).text == "text 0"
    with pytest.raises(BadInput, match="goes on after the end of its JSON array of 1 elements"):
        next(entries)


def test_truncated_gzip_gives_what_it_can_and_then_says_where_it_broke_off(tmp_path):
    whole = gzip.compress(many(5000))
    for cut in (len(whole) // 2, len(whole) - 3):
        (tmp_path / "cut.jsonl.gz").write_bytes(whole[:cut])
        read = []
        with pytest.raises(BadInput, match=r"cut\.jsonl\.gz is a broken gzip file after line \d+"):
            for entry in open_reviews(tmp_path / "cut.jsonl.gz"):
                read.append(entry.text)
        assert read == [f"text {number}" for number in range(len(read))] and len(read) > 1000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"[]", "is empty"),
        (b"user,thing,text\na,b,c\n", "cannot tell what .* holds: its first line, .*, has user, thing, text"),
        (b"PK\x03\x04\x00\xff\xfe", r"is a spreadsheet \(.xlsx, .ods, .xls\) or a zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is a spreadsheet \("),
        (b"sep=;", "is neither JSON nor a table"),
        (b"\x89PNG\xff\xfe", "is neither JSON nor a table: line 1: not valid UTF-8"),
        (b"\x1f\x8b\x08\x00", "broken gzip"),
        (b"\x1f\x8bnonsense", "broken gzip"),
        ("\ufeff".encode("utf-16-le") + line(0).encode("utf-16-le"), "is UTF-16"),
        (b'"a string"\n17\n', "is neither JSON nor a table: line 1: not a JSON object"),
        (b'{"name": "x", "stars": 3}\n', "cannot tell what .* holds: its rows have name, stars"),
    ],
)
def test_files_that_are_no_use(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        list(open_reviews(tmp_path / "file"))
    with pytest.raises(BadInput, match=words):
        list(read_items(tmp_path / "file"))


@pytest.mark.parametrize(
    ("content", "hint"),
    [(b"PK\x03\x04", "save the spreadsheet as CSV"), (b"\xff\xfea\0", "iconv -f UTF-16 -t UTF-8 {file} > NEW")],
)
def test_how_to_mend_a_file_of_another_kind(tmp_path, content, hint):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadInput) as raised:
        open_reviews(tmp_path / "file")
    assert hint.format(file=tmp_path / "file") in raised.value.hint


def test_missing_file_folder_and_impossible_name(tmp_path):
    (tmp_path / "a.txt").touch()
    for name in ("dev_questions.json", "dev_outputs.json"):
        (tmp_path / name).touch()
    for path, error, words in (
        (tmp_path / "none.jsonl", NotFound, "there is no file .*none"),
        ("", NotFound, "there is no file ''"),
        (tmp_path, BadInput, "is a folder"),
        ("a\0b", BadInput, "cannot be opened"),
    ):
        with pytest.raises(error, match=words) as raised:
            open_reviews(path)
        assert error is NotFound or "folder" not in words or raised.value.hint.endswith("/*.json")


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + many(2).replace(b"\n", b"\r\n"))
    assert texts(tmp_path / "bom.jsonl") == ["text 0", "text 1"]


def test_overlong_line_is_skipped_and_the_next_one_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 200)
    (tmp_path / "long.jsonl").write_text(f"{line(0)}\n{line(1, title='x' * 900)}\n{line(2)}\n")
    first, bad, last = open_reviews(tmp_path / "long.jsonl")
    assert (first.text, bad.line_number, last.text) == ("text 0", 2, "text 2") and "longer than" in bad.reason


def test_items_file(tmp_path):
    rows = [{"asin": "a", "title": "A", "description": "first\nsecond"}, {"asin": "b", "title": None}, {"title": "nameless"}]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = read_items(tmp_path / "items.jsonl")
    assert (reader.format, reader.reason) == ("jsonl", "its rows have asin, title")
    first, second, bad = reader
    assert (first, second) == (Item("a", "A", "first\nsecond"), Item("b")) and bad.reason == "no item id"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_line_without_end_is_refused_at_a_limit_and_never_held(monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 2**20)
    monkeypatch.setattr(files, "ENDLESS_BYTES", 32 * 2**20)
    tracemalloc.start()
    with pytest.raises(BadInput, match="/dev/zero: line 1 goes on after 32 MiB"):
        open_reviews("/dev/zero")
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_a_line_without_end_after_good_ones_leaves_these(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 200)
    monkeypatch.setattr(files, "ENDLESS_BYTES", 5000)
    good = json.dumps({"user_id": "u", "asin": "i", "text": "words"}) + "\n"
    (tmp_path / "reviews.jsonl").write_text(good + "x" * 4000 + "\n" + good + "x" * 6000)
    seen = []
    with pytest.raises(BadInput, match="line 4 goes on after"):
        seen.extend(open_reviews(tmp_path / "reviews.jsonl"))
    with pytest.raises(BadInput):
        for entry in open_reviews(tmp_path / "reviews.jsonl"):
            seen.append(type(entry).__name__)
    assert seen[-3:] == ["Review", "BadLine", "Review"]


@pytest.mark.parametrize("content", [line(0, title="Loved it"), "user_id,asin,title,text\nu,i,t,w\n"])
def test_reviews_are_not_taken_for_items(tmp_path, content):
    """Their titles were those of the items once."""
    (tmp_path / "reviews").write_text(content)
    with pytest.raises(BadInput, match="the file of --items holds reviews"):
        read_items(tmp_path / "reviews")
