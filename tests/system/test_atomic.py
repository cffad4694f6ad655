from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from depcli.system.atomic import atomically, to_disk, write_atomically


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(path.parent) == ["file.json"]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomically(path) as file:
        file.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    source = (
        "import os, signal, sys; from pathlib import Path; from depcli.system.atomic import atomically\n"
        "with atomically(Path(sys.argv[1])) as file:\n    file.write(b'new' * 9999); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", source, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and path.read_bytes() == b"old"


def test_a_name_of_as_many_bytes_as_there_may_be(tmp_path):
    path = tmp_path / ("\U0001f3ac" * 63)
    write_atomically(path, b"here")
    assert path.read_bytes() == b"here"


@pytest.mark.parametrize("has_it", [True, False])
def test_on_macos_the_drive_is_told_to_write_too(tmp_path, monkeypatch, has_it):
    asked = []

    def control(descriptor, what):
        asked.append(what)
        if not has_it:
            raise OSError

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append("fsync"))
    with open(tmp_path / "file", "wb") as file:
        to_disk(file.fileno())
    assert asked == ([51] if has_it else [51, "fsync"])
