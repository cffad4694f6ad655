"""Texts of models that think before they write."""

from __future__ import annotations

import json

import pytest

from depcli.cli import main
from depcli.records import Item
from depcli.store import Store
from depcli.thought import ThoughtFilter, without_thought
from tests.engines.endpoints import Answer, Scripted, completion
from tests.store.made import IDENTITY, some_reviews, upsert


def test_the_thought_is_cut_off_at_its_last_end():
    assert without_thought("<think>hm</think>Dry.") == "Dry."
    assert without_thought("hm</think>well</think> Dry.", opened=True) == "Dry."
    assert without_thought("  Dry. ") == "  Dry. "
    assert without_thought("hm") == "hm" and without_thought("") == ""
    assert without_thought("<think>hm") is None and without_thought("<think>a</think>b<think>c") is None
    assert without_thought("hm", opened=True) is None and without_thought("", opened=True) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Dry.", "Dry."),
        (" <th", " <th"),
        ("\n<thin ice> is a film", "\n<thin ice> is a film"),
        ("", ""),
        ("<think>\nIs it < 3?\n</think>\n\nDry. <think", "Dry. <think"),
        ("\n<think></think>Dry.", "Dry."),
        ("<think>never ends", ""),
        ("<think>a</think>\n", ""),
    ],
)
def test_a_growing_text_is_shown_without_its_thought_however_it_is_cut(text, shown):
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            pieces: list[str] = []
            stream = ThoughtFilter(pieces.append)
            for whole in (text, "Again."):  # one after the other
                for piece in (whole[:first], whole[first:second], whole[second:]):
                    stream.feed(piece)
                stream.end()
            assert "".join(pieces) == shown + "Again."


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """`dep write` through an endpoint that answers so: the exit code, stdout and stderr."""
    upsert(Store.create(tmp_path / "profiles", IDENTITY), some_reviews(), [Item("item1", "A kettle", "It whistles.")])

    def run(answer: Answer, *more: str) -> tuple[int, str, str]:
        with Scripted(lambda _: answer) as endpoint:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
            code = main(["write", "--method", "rag", "--engine", "openai", "--backbone", "m", *more])
        return code, *capsys.readouterr()

    return run


ONE = ("--user", "user0", "--item", "item1")


def test_dep_write_shows_and_returns_the_review_alone(ask):
    text = "<think>They like kettles.</think>\n\nIt whistles."
    pieces = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in text]
    pieces[-1]["choices"][0]["finish_reason"] = "stop"
    code, out, _ = ask(Answer(stream=[*pieces, "[DONE]"]), *ONE)
    assert (code, out) == (0, "It whistles.\n")
    code, out, _ = ask(completion(text), *ONE, "--json")
    assert (code, json.loads(out)["text"]) == (0, "It whistles.")


def test_a_thought_without_an_end_is_no_review(ask, tmp_path):
    unfinished = completion("<think>They like kettles, so", finish="length", usage={"completion_tokens": 2048})
    piece = {"choices": [{"index": 0, "delta": {"content": "<think>They"}, "finish_reason": "length"}]}
    for answer, more in ((unfinished, ["--json"]), (Answer(stream=[piece, "[DONE]"]), [])):
        code, out, err = ask(answer, *ONE, *more)
        assert code == 1 and not out.strip() and "still thinking after" in err and "--max-new-tokens" in err
    (tmp_path / "wanted.jsonl").write_text('{"user_id": "user0", "asin": "item1"}\n' * 2)
    written = tmp_path / "written.jsonl"
    code, out, _ = ask(unfinished, "--requests", str(tmp_path / "wanted.jsonl"), "--out", str(written))
    assert code == 1 and "2 not written" in out
    assert ["thinking after 2,048 tokens" in json.loads(line)["error"] for line in written.read_text().splitlines()] == [True] * 2
