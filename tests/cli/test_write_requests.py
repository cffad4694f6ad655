"""`dep write --requests`: what a shell sees."""

from __future__ import annotations

import io
import json
import sys

import pytest

from depcli.cli import main
from depcli.store import Store
from tests.personal.conftest import few_people, made_store
from tests.store.made import upsert


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    made_store(folder, *few_people(2))
    return folder


@pytest.fixture
def ask(profiles, compact_backbone, tmp_path):
    """(the command but --requests, where its output goes)"""
    out = tmp_path / "out.jsonl"
    options = ["--method", "rag", "--backbone", str(compact_backbone), "--max-new-tokens", "4", "--profiles", str(profiles)]
    return ["write", "--out", str(out), *options], out


def lines_of(profiles, count: int) -> list[str]:
    user = Store.open(profiles).snapshot().user_ids()[0]
    return [json.dumps({"user_id": user, "asin": f"new{n}", "item_title": f"Thing {n}"}) + "\n" for n in range(count)]


def test_a_file_and_its_json_summary(ask, profiles, tmp_path, capsys):
    command, out = ask
    wanted = tmp_path / "wanted.jsonl"
    wanted.write_text("".join(lines_of(profiles, 3)))
    assert main([*command, "--requests", str(wanted), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["requests"], document["written"], document["failed"], document["kept"]) == (3, 3, 0, 0)
    assert document["out"] == str(out) and len(out.read_text().splitlines()) == 3
    assert main([*command, "--requests", str(wanted)]) == 0
    assert "3 lines already there" in capsys.readouterr().out
    assert main([*command, "--requests", str(wanted), "--seed", "1"]) == 1
    assert "other settings; sampling" in capsys.readouterr().err


def test_a_file_goes_on_with_the_commit_it_was_begun_with(ask, profiles, tmp_path, capsys):
    command, out = ask
    wanted = tmp_path / "wanted.jsonl"
    wanted.write_text("".join(lines_of(profiles, 1)))
    assert main([*command, "--requests", str(wanted)]) == 0
    newcomers, items = few_people(3)
    upsert(Store.open(profiles), newcomers, items)
    wanted.write_text("".join(lines_of(profiles, 2)))
    capsys.readouterr()
    assert main([*command, "--requests", str(wanted)]) == 1
    (advice,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: ")]
    assert advice.split()[1] == "--at" and "--out" in advice
    assert main([*command, "--requests", str(wanted), *advice.split()[1:3]]) == 0
    assert len(out.read_text().splitlines()) == 2


def test_failed_requests_are_counted_shown_and_in_the_exit_code(ask, profiles, monkeypatch, capsys):
    command, out = ask
    bad = [json.dumps({"user_id": f"nobody\x1b{n}", "asin": "x"}) + "\n" for n in range(7)]

    def give():
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join([*lines_of(profiles, 1), *bad]).encode())))

    give()
    assert main([*command, "--requests", "-"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{out}: 1 review, 7 not written, in ")
    assert "standard input, line 2: no user 'nobody\\x1b0' in the store" in captured.err and "and 2 more" in captured.err
    assert "an earlier run" not in captured.err
    assert ["error" in json.loads(line) for line in out.read_text().splitlines()] == [False, *[True] * 7]
    give()
    assert main([*command, "--requests", "-"]) == 1
    assert "7 lines of an earlier run had an error, which stays" in capsys.readouterr().err


def test_fields_that_mean_nothing_are_named_once(ask, profiles, tmp_path, capsys):
    """A misspelt one is ignored like the text of a review; that it is was not said."""
    wanted = tmp_path / "wanted.jsonl"
    first, second, third = map(json.loads, lines_of(profiles, 3))
    rows = (first, {**second, "item_titel": "A Kettle", "text": "not read"}, {**third, "text": "nor this", "stars": 3, "id": "c"})
    wanted.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*ask[0], "--requests", str(wanted)]) == 0
    told = [line.partition(";")[0] for line in capsys.readouterr().err.splitlines() if "nothing is made of" in line]
    assert told == [f"{wanted}: nothing is made of item_titel, text", f"{wanted}: nothing is made of stars"]


def test_files_that_cannot_be_read(ask, tmp_path, capsys):
    command, out = ask
    (tmp_path / "empty.jsonl").write_text("")
    for name, code, said in (("none.jsonl", 3, "no file"), ("empty.jsonl", 5, "is empty"), ("", 5, "is a folder")):
        assert main([*command, "--requests", str(tmp_path / name)]) == code
        assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("engine", ["llamacpp", "transformers"])
def test_of_a_file_that_breaks_off_what_stands_before_is_written(ask, profiles, tmp_path, capsys, engine):
    """Once nothing was: the lines could not be counted, and an engine that takes several at once lost those that it had."""
    command, out = ask
    wanted, whole = tmp_path / "wanted.json", f"[{','.join(lines_of(profiles, 3))}]"
    wanted.write_text(whole[:-1])
    assert main([*command, "--engine", engine, "--requests", str(wanted), "--shard", "1/2"]) == 5
    assert "is not valid JSON after element 3" in capsys.readouterr().err and not out.exists()
    assert main([*command, "--engine", engine, "--requests", str(wanted)]) == 5
    assert f"error: {wanted} is not valid JSON after element 3" in capsys.readouterr().err
    written = out.read_bytes()
    assert ["text" in json.loads(line) for line in written.splitlines()] == [True] * 3
    wanted.write_text(whole)
    assert main([*command, "--engine", engine, "--requests", str(wanted)]) == 0
    assert "3 lines already there" in capsys.readouterr().out and out.read_bytes() == written


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--requests", "a"], "go together"),
        (["--out", "b"], "go together"),
        ([], "--user and --item missing"),
        (["--user", "u"], "--item missing"),
        (["--requests", "a", "--out", "b", "--user", "u"], "--user is for one review"),
        (["--requests", "a", "--out", "b", "--item", "i"], "--item is for one"),
        (["--requests", "a", "--out", "."], "directory"),
        (["--requests", "a", "--out", "b", "--rating", "3"], "--rating is for one"),
        (["--requests", "a", "--out", "b", "--show-prompt"], "--show-prompt is for one"),
        (["--user", "u", "--item", "i", "--shard", "1/2"], "--shard is for --requests"),
    ],
)
def test_options_of_one_review_and_of_many_exclude_each_other(options, said, capsys):
    assert main(["write", *options]) == 2
    assert said in capsys.readouterr().err


def test_shards_joined_in_order_are_the_whole_and_go_on_as_one(ask, profiles, tmp_path, capsys):
    command, out = ask
    wanted = tmp_path / "wanted.jsonl"
    wanted.write_text("".join([*lines_of(profiles, 4), "\n", "torn\n", *lines_of(profiles, 2)]))
    assert main([*command, "--requests", str(wanted), "--json"]) == 1
    whole = out.read_bytes()
    parts = []
    for i in (1, 2, 3):
        parts.append(tmp_path / f"part{i}.jsonl")
        code = main([*command, "--requests", str(wanted), "--out", str(parts[-1]), "--shard", f"{i}/3"])
        assert code == (1 if b"error" in parts[-1].read_bytes() else 0)
    assert [len(part.read_bytes().splitlines()) for part in parts] == [2, 2, 3]
    assert b"".join(part.read_bytes() for part in parts) == whole
    capsys.readouterr()
    assert main([*command, "--requests", str(wanted), "--out", str(parts[1]), "--shard", "3/3"]) == 1
    assert "was written for another request than line 6" in capsys.readouterr().err
    joined = tmp_path / "joined.jsonl"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts[:2]))
    (tmp_path / "joined.jsonl.settings.json").write_bytes((tmp_path / "part1.jsonl.settings.json").read_bytes())
    assert main([*command, "--requests", str(wanted), "--out", str(joined)]) == 1
    assert joined.read_bytes() == whole
    assert main([*command, "--requests", str(wanted), "--out", str(tmp_path / "none.jsonl"), "--shard", "1/99"]) == 0
    assert (tmp_path / "none.jsonl").read_bytes() == b"", "a part without a request is joined too"


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_shards_that_are_none(shard, capsys):
    assert main(["write", "--requests", "a", "--out", "b", "--shard", shard]) == 2
    assert "is not I/N" in capsys.readouterr().err


def test_a_pipe_has_no_shards(ask, profiles, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(lines_of(profiles, 1)).encode())))
    assert main([*ask[0], "--requests", "-", "--shard", "1/2"]) == 2
    assert "not a pipe" in capsys.readouterr().err
