"""`dep export` into files, pipes and a terminal."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from contextlib import closing

import pytest

from depcli.cli import main
from depcli.records import Item
from depcli.store import Store
from tests.store.made import IDENTITY, some_reviews, upsert

NASTY = "a\x1b[2J [b]bold[/b] \u202eturned\u2028" + "漢" * 300 + " word" * 2000


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("export") / "profiles", IDENTITY)
    upsert(store, some_reviews(), [Item("item1", NASTY, NASTY), Item("item2", "Two")])
    return str(store.path)


def test_export_to_stdout_and_to_files(stored, capfdbinary, tmp_path):
    def run(*arguments: str) -> bytes:
        capfdbinary.readouterr()
        assert main(["export", *arguments, "--profiles", stored, "-q"]) == 0
        return capfdbinary.readouterr().out

    lines = run()
    store = Store.open(stored)
    assert len(lines.split(b"\n")) - 1 == store.snapshot().counts()["reviews"] + 2
    file = tmp_path / "reviews.jsonl.gz"
    assert b"reviews and 2 items in" in run(str(file)) and gzip.decompress(file.read_bytes()) == lines
    assert main(["export", str(file), "--profiles", stored]) == 1
    assert json.loads(run(str(file), "--replace", "--json"))["bytes"] == file.stat().st_size
    assert main(["export", "--json", "--profiles", stored]) == 2


def test_on_a_terminal_the_export_is_the_same_json_escaped(stored):
    controller, terminal = pty.openpty()
    command = [sys.executable, "-c", "import sys; from depcli.cli import main; sys.exit(main())"]
    arguments = ["export", "--profiles", stored, "--at", "1", "-q"]
    with closing(os.fdopen(controller, "rb", 0)) as screen:
        with subprocess.Popen([*command, *arguments], stdout=terminal, stderr=subprocess.DEVNULL) as child:
            os.close(terminal)
            shown = b""
            while piece := _read(screen):
                shown += piece
        assert child.returncode == 0
    assert b"\x1b" not in shown and shown.isascii()
    assert json.loads(shown.splitlines()[0]) == {"asin": "item1", "title": NASTY, "description": NASTY}


def _read(screen) -> bytes:
    try:
        return screen.read(65536)
    except OSError:  # the other end is closed
        return b""
