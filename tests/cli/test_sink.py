from __future__ import annotations

import json
import os
import select
import sys
from contextlib import contextmanager

import pytest

from depcli.cli.sink import OutputClosed, Sink, complain

NASTY = "[b]bold[/b] [/] [red]\x1b[31mred\x1b[0m \u202egnp.exe\u202c\r\nnext\ttab \x07"


@contextmanager
def terminal(monkeypatch):
    """stdout and stderr on a pseudo-terminal; yields what reads what was written there. (Not a fixture: pytest sets its own
    streams again between a fixture and its test.)"""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    with os.fdopen(slave, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("TERM", "xterm")

        def read() -> str:
            stream.flush()
            pieces = []  # the kernel hands over what was written in pieces, a moment later
            while select.select([master], [], [], 0.5)[0]:
                pieces.append(os.read(master, 65536))
            return b"".join(pieces).decode().replace("\r\n", "\n")

        yield read
    os.close(master)


def test_piped_user_text_is_what_the_user_wrote(capsys):
    sink = Sink()
    sink.line(NASTY)
    sink.piece(NASTY)
    assert capsys.readouterr().out == NASTY + "\n" + NASTY


def test_a_terminal_shows_control_characters_and_obeys_none(monkeypatch):
    with terminal(monkeypatch) as read:
        Sink().line(NASTY)
        shown = read()
    assert shown == "[b]bold[/b] [/] [red]\\x1b[31mred\\x1b[0m \\u202egnp.exe\\u202c\nnext\ttab \\x07\n"


def test_errors_and_notes_never_carry_control_characters(capsys):
    complain(f"no user {NASTY}", "hint \x1b[2J")
    Sink().note("note \x1b[2J")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err and "[b]bold[/b]" in captured.err
    assert captured.err.startswith("error: no user [b]") and "\nhint: hint \\x1b[2J\n" in captured.err


def test_headings_are_bold_on_a_terminal_only_and_not_with_no_color(monkeypatch):
    with terminal(monkeypatch) as read:
        Sink().heading("Title")
        bold = read()
        monkeypatch.setenv("NO_COLOR", "1")
        Sink().heading("Title")
        plain = read()
    assert (bold, plain) == ("\x1b[1mTitle\x1b[0m\n", "Title\n")


def test_json_is_one_document_with_null_for_what_json_lacks(capsys):
    sink = Sink("json")
    document = {"text": NASTY, "loss": float("nan"), "many": [float("inf"), 1.5], "emoji": "🥔", "half": "\ud83e"}
    sink.result(document, lambda: pytest.fail("the human form was printed"))
    out = capsys.readouterr().out
    assert json.loads(out) == {**document, "loss": None, "many": [None, 1.5]}
    with pytest.raises(RuntimeError, match="two JSON documents"):
        sink.result({}, lambda: None)


def test_json_survives_an_ascii_terminal(monkeypatch, tmp_path):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        Sink("json").result({"text": "naïve 🥔"}, lambda: None)
        Sink().line("naïve")
    document, _, line = (tmp_path / "out").read_text("ascii").rpartition("}\n")
    assert json.loads(document + "}") == {"text": "naïve 🥔"}
    assert line == "na\\xefve\n"


def test_table_is_aligned_by_what_a_terminal_shows(capsys):
    Sink().table(("name", "loss"), [("日本", "1.25"), ("a [b]", "-10.5"), ("two\nlines", "-")])
    assert capsys.readouterr().out == ("name        loss\n日本        1.25\na [b]      -10.5\ntwo lines      -\n")


def test_quiet_says_nothing_but_results_and_errors(capsys):
    sink = Sink(quiet=True)
    sink.note("a note")
    assert not sink.shows_progress
    sink.line("the result")
    sink.aside("what was asked for")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("the result\n", "what was asked for\n")


def test_no_progress_and_no_escape_codes_in_a_pipe(capsys):
    with Sink().progress("working", "reviews") as update:
        update(1, 2, "detail")
    assert capsys.readouterr() == ("", "")


def progress_shown(monkeypatch, columns: int, what: str, unit: str, *step) -> str:
    """What a terminal of so many columns shows of one step."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal(monkeypatch) as read:
        with Sink().progress(what, unit) as update:
            update(*step)
        return read()


def test_progress_shows_markup_as_text(monkeypatch):
    shown = progress_shown(monkeypatch, 200, "[b]working[/b] [/]", "reviews", 1, 2, "[red] [/] \x1b[2J")
    assert "[b]working[/b] [/]" in shown and "1/2 reviews" in shown and "[red] [/] \\x1b[2J" in shown


def test_on_a_narrow_terminal_the_detail_is_cut_and_no_number(monkeypatch):
    detail = "epoch 1  loss 4.31  recon 0.00267  sparse 0.525  sae 0.32  4,747 tokens/s"
    shown = progress_shown(monkeypatch, 80, "training", "steps", 1217, 1300, detail)
    assert "1,217/1,300 steps" in shown and "0:00:00" in shown and "epoch 1" in shown
    assert "tokens/s" not in shown and "0:\N{HORIZONTAL ELLIPSIS}" not in shown


def test_nobody_is_asked_where_nobody_sits(capsys):
    assert Sink().ask("Download 2 GB?") is False
    assert capsys.readouterr() == ("", "")
    assert Sink(yes=True).ask("Download 2 GB?") is True
    assert capsys.readouterr().err == "Download 2 GB? yes\n"


def test_a_closed_pipe_is_told_apart_from_other_errors(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OutputClosed):
            for _ in range(100_000):
                Sink().line("x" * 100)
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
