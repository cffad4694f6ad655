"""What a shell sees. Failures are planted at the seam between a command and the library."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from depcli import errors, profiles
from depcli.cli import main


def failing(monkeypatch, error: BaseException) -> None:
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(profiles, "overview", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DepError, 1),
        (errors.NotFound, 3),
        (errors.MissingDependency, 4),
        (errors.BadInput, 5),
        (errors.NeedsNetwork, 6),
        (errors.Incompatible, 1),
        (errors.StoreBusy, 1),
    ],
)
def test_expected_failures_have_message_hint_and_code(monkeypatch, capsys, error, code):
    failing(monkeypatch, error("what", "mend it"))
    assert main(["status"]) == code
    assert capsys.readouterr() == ("", "error: what\nhint: mend it\n")


class Panic(BaseException):
    """As LanceDB's, which are no Exceptions."""


@pytest.mark.parametrize("error", [ValueError("oops"), KeyError("k"), EOFError("end"), OSError(errno.EBADF, "bad"), Panic("!")])
def test_anything_else_is_a_bug_with_its_traceback(monkeypatch, capsys, error):
    failing(monkeypatch, error)
    assert main(["status"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err and f"{type(error).__name__} (a bug in dep)" in err


def test_a_full_disk_is_no_bug(monkeypatch, capsys):
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/somewhere/file"))
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith("error: No space left on device: /somewhere/file\n")


def test_interrupted_says_how_to_go_on(monkeypatch, capsys):
    failing(monkeypatch, KeyboardInterrupt())
    assert main(["status"]) == 130
    assert "error: interrupted" in capsys.readouterr().err
    from depcli.cli.group import going_on

    assert "--resume" in going_on(["train", "--epochs", "2"]) and "again" in going_on(["ingest", "train.jsonl"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["ingest"],
        ["status", "--no-such-option"],
        ["write", "--user", "u"],
        ["train", "--epochs", "0"],
        ["write", "--user", "u", "--item", "i", "--rating", "nan"],
        ["write", "--user", "u", "--item", "i", "--top-p", "0"],
        ["write", "--user", "u", "--item", "i", "--method", "magic"],
        ["eval", "--methods", "dep,magic"],
        ["eval", "--judge", "mini"],
        ["eval", "--judge", "magic:mini"],
        ["write", "--analyst", "llamacpp:"],
        ["eval", "--out", __file__],
        ["eval", "--threads", "9999"],
        ["write", "--user", "u", "--item", "i", "--threads", "9999"],
        ["write", "--user", "u", "--item", "i", "--temperature", "inf"],
    ],
)
def test_usage_errors(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and "\nhint: see `dep" in captured.err


def test_dep_alone_shows_its_help_and_no_error(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("Usage: dep") and "hint" not in captured.err


def test_commands_without_a_store_say_how_to_make_one(tmp_path, capsys):
    for arguments in (["status"], ["train"], ["eval"], ["write", "--user", "u", "--item", "i"]):
        assert main([*arguments, "--profiles", str(tmp_path / "none"), "--json"]) == 3
        captured = capsys.readouterr()
        assert captured.out == "" and "dep ingest" in captured.err
    assert not (tmp_path / "none").exists()


def test_a_missing_file_leaves_no_store_behind(tmp_path, capsys):
    good = tmp_path / "good.jsonl"
    good.write_text('{"user_id": "u", "asin": "a", "text": "t"}\n')
    store = tmp_path / "store"
    assert main(["ingest", str(good), str(tmp_path / "typo.jsonl"), "--profiles", str(store), "--embedder", "minilm"]) == 3
    assert "typo.jsonl" in capsys.readouterr().err
    assert not store.exists()


def test_weights_that_are_not_here_are_not_fetched_offline(tmp_path, capsys):
    good = tmp_path / "good.jsonl"
    good.write_text('{"user_id": "u", "asin": "a", "text": "t"}\n')
    assert main(["ingest", str(good), "--embedder", "bge-m3", "--offline"]) == 6
    assert "bge-m3" in capsys.readouterr().err


def test_whoever_closes_the_pipe_hears_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from depcli.cli import main; sys.exit(main(['--help']))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    _, err = process.communicate()
    assert process.returncode == 1 and err == ""


def test_whoever_closes_the_pipe_costs_no_open_file(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        os.close(free := os.dup(stream.fileno()))
        assert main(["path"]) == 1
        os.close(after := os.dup(stream.fileno()))
    assert after == free, "the lowest number that is free is still the same"


def test_more_files_than_a_mac_has_open_at_first(tmp_path):
    for i in range(80):
        (tmp_path / f"{i}.jsonl").write_text(json.dumps({"user_id": "u", "asin": f"a{i}", "text": f"text {i}"}) + "\n")
    dep = f"{sys.executable} -m depcli ingest *.jsonl --embedder minilm --offline --profiles"
    here = {"cwd": tmp_path, "capture_output": True, "text": True, "env": {**os.environ, "PYTHONPATH": os.getcwd()}}
    found = subprocess.run(["bash", "-c", f"ulimit -Sn 64; {dep} p"], **here)
    assert found.returncode == 0 and "80 reviews" in found.stdout, found.stderr
    found = subprocess.run(["bash", "-c", f"ulimit -n 64; {dep} q"], **here)
    assert found.returncode in (1, 5) and "oo many" in found.stderr and "Traceback" not in found.stderr, found.stderr


def test_daemons_have_no_standard_streams(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"user_id": "u", "asin": "a", "text": "t"}\n')
    for call in (
        "ingest a.jsonl --embedder minilm --offline <&- >&- 2>&-",
        "show --user u >&-",
        "show --user u 2>&-",
    ):
        said = ["sh", "-c", f"{sys.executable} -m depcli {call} --profiles p"]
        found = subprocess.run(said, cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
        assert found.returncode == 0, (call, found.stderr)
    assert main(["show", "--user", "u", "--profiles", str(tmp_path / "p")]) == 0


def test_control_c_ends_a_waiting_ingest_and_says_how_to_go_on(tmp_path):
    # Started in the background of a shell, a process inherits SIGINT as ignored, and Python leaves it so.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    dep = [sys.executable, "-c", heard + "import sys; from depcli.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*dep, "ingest", "-", "--embedder", "minilm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEP_PROFILES": str(tmp_path / "store")},
    )
    process.stdin.write('{"user_id": "u", "asin": "a", "text": "t"}\n')
    process.stdin.flush()
    for line in process.stderr:
        if "read as jsonl" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "error: interrupted\nhint: what was committed is kept" in err and "Traceback" not in err


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    good = tmp_path / "good.jsonl"
    good.write_text('{"user_id": "u", "asin": "a", "text": "t"}\n')
    assert main(["ingest", str(good), "--embedder", "minilm", "--profiles", str(tmp_path / "file" / "store")]) == 1
    err = capsys.readouterr().err
    assert str(tmp_path / "file") in err and "Traceback" not in err
