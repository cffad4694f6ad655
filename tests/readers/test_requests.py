"""Requests files: what is opened is closed, read or not."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest

from depcli.readers import read_requests, shard_of
from depcli.readers.files import Source


def is_open(path: Path) -> bool:
    return any(link.is_symlink() and os.readlink(link) == str(path) for link in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are looked up in /proc")
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("taken", [0, 1])
def test_closing_them_closes_their_file(tmp_path, monkeypatch, sharded, taken):
    monkeypatch.delattr(Source, "__del__")  # what is collected is closed too, but nobody knows when
    path = tmp_path / "wanted.jsonl"
    path.write_text('{"user_id": "u", "asin": "a"}\n' * 3)
    lines = read_requests(path)
    if sharded:
        lines, _ = shard_of(lines, 3, (2, 3))
    assert [next(lines).number for _ in range(taken)] == [1 + sharded][:taken]
    assert is_open(path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        lines.close()
        del lines
    assert not is_open(path) and not said, "closed, not left to be collected"


def test_names_of_fields_that_mean_nothing_are_told_once_and_not_without_end(tmp_path):
    path, told = tmp_path / "wanted.jsonl", []
    path.write_text("".join(json.dumps({"user_id": "u", "asin": "a", "same": 1, f"other{n}": 2}) + "\n" for n in range(40)))
    assert len(list(read_requests(path, told.extend))) == 40
    assert told == ["same", *(f"other{n}" for n in range(19))]


def test_what_a_question_of_lamp_has_is_known(tmp_path):
    path, told = tmp_path / "wanted.jsonl", []
    path.write_text('{"id": "1", "input": "Do: that", "profile": []}\n')
    assert [line.asked["asin"] for line in read_requests(path, told.extend)] == ["1/target"] and not told
