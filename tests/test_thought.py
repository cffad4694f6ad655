"""Texts of models that think before they write."""

from __future__ import annotations

import json
import sys

import pytest

from depcli.cli import main
from depcli.records import Completion, Item
from depcli.store import Store
from depcli.thought import THINKING, ThoughtFilter, as_written, without_thought
from tests.engines.endpoints import Answer, Scripted, completion
from tests.store.made import IDENTITY, some_reviews, upsert

TEXTS = [  # and what is left of them
    ("Dry.", "Dry."),
    ("  Dry. ", "  Dry. "),
    (" <th", " <th"),
    ("\n<thin ice> is a film", "\n<thin ice> is a film"),
    ("", ""),
    ("<think>\nIs it < 3?\n</think>\n\nDry. <think", "Dry. <think"),
    ("\n<think></think>Dry.", "Dry."),
    ("<think>a</think>\n", ""),
    ("<think>a</think>It <think>s</think>, they say.", "It <think>s</think>, they say."),
    ("It <think>s about </think> that.", "It <think>s about </think> that."),
    ("What <think> means", "What <think> means"),
    ("I wrote </think> in my blog.", "I wrote </think> in my blog."),
    ("<think>never ends", None),
]


@pytest.mark.parametrize(("text", "left"), TEXTS)
def test_only_what_a_text_begins_with_is_a_thought_however_it_comes(text, left):
    assert without_thought(text) == left
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            pieces: list[str] = []
            stream = ThoughtFilter(pieces.append)
            for whole in (text, "Again."):  # one after the other
                for piece in (whole[:first], whole[first:second], whole[second:]):
                    stream.feed(piece)
                stream.end()
            assert "".join(pieces) == (left or "") + "Again."


def test_where_the_prompt_is_made_elsewhere_the_mark_at_the_end_tells():
    assert without_thought("They like kettles.\n</think>\n\nDry.", blind=True) == "Dry."
    assert without_thought("What <think> means", blind=True) == "What <think> means"


def test_a_thought_without_an_end_is_told_from_an_empty_text():
    thinking, empty = (Completion(text, "length", 9, 1) for text in ("<think>hm", ""))
    assert as_written(thinking, blind=False) == Completion("", THINKING, 9, 1) and as_written(empty, blind=False) == empty


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


def streamed(text: str, finish: str = "stop") -> Answer:
    pieces = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in text]
    pieces[-1]["choices"][0]["finish_reason"] = finish
    return Answer(stream=[*pieces, "[DONE]"])


ONE = ("--user", "user0", "--item", "item1")


@pytest.mark.parametrize("opened", ["<think>", ""])  # by the model, by the endpoint
def test_dep_write_returns_the_review_alone(ask, monkeypatch, opened):
    text = f"{opened}They like kettles.\n</think>\n\nIt whistles."
    code, out, _ = ask(completion(text), *ONE)
    assert (code, out) == (0, "It whistles.\n")
    code, out, _ = ask(completion(text), *ONE, "--json")
    assert (code, json.loads(out)["text"]) == (0, "It whistles.")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, _ = ask(streamed(text), *ONE)
    assert code == 0 and out.endswith("It whistles.\n") and ("kettles" in out) == (not opened)


@pytest.mark.parametrize("finish", ["length", "stop"])
def test_a_thought_without_an_end_is_no_review(ask, tmp_path, finish):
    unfinished = completion("<think>They like kettles, so", finish=finish, usage={"completion_tokens": 2048})
    for more in ((), ("--json",)):
        code, out, err = ask(unfinished, *ONE, *more)
        assert code == 1 and not out.strip() and "wrote nothing, in 2,048 tokens" in err and "--max-new-tokens" in err
    (tmp_path / "wanted.jsonl").write_text('{"user_id": "user0", "asin": "item1"}\n' * 2)
    written = tmp_path / "written.jsonl"
    code, out, _ = ask(unfinished, "--requests", str(tmp_path / "wanted.jsonl"), "--out", str(written))
    assert code == 1 and "2 not written" in out
    assert [(one["error"][-23:], one["generated_tokens"]) for one in map(json.loads, written.read_text().splitlines())] == [
        ("nothing, in 2,048 tokens"[-23:], 2048)
    ] * 2


@pytest.mark.parametrize("said", ["reasoning_content", "reasoning", "reasoning_tokens"])
def test_thoughts_that_an_endpoint_tells_apart_are_known_too(ask, monkeypatch, said):
    """Cut off in them, a model has written nothing; where it has, they do not matter."""
    apart = {} if said == "reasoning_tokens" else {said: "They like kettles."}
    usage = {"completion_tokens": 2048, "completion_tokens_details": {"reasoning_tokens": 2048}} if not apart else {}

    def answer(text: str, finish: str) -> Answer:
        whole = completion(text, finish, usage=usage)
        whole.body["choices"][0]["message"] |= apart
        return whole

    for nothing in ("", "\n\n"):
        code, out, err = ask(answer(nothing, "length"), *ONE)
        assert code == 1 and not out and "thought, and wrote nothing" in err
    code, out, _ = ask(answer("It whistles.", "stop"), *ONE)
    assert (code, out) == (0, "It whistles.\n")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    first = {"choices": [{"index": 0, "delta": {"content": "", **apart}, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": usage}
    code, out, err = ask(Answer(stream=[first, last, "[DONE]"]), *ONE)
    assert code == 1 and not out and "thought, and wrote nothing" in err


def test_a_text_that_is_empty_for_another_reason_is_no_thought(ask):
    code, out, err = ask(completion("", finish="length"), *ONE)
    assert (code, out) == (0, "\n") and "thought" not in err
