"""The engine openai and endpoints that are busy, slow, gone, refuse, or answer with something else."""

from __future__ import annotations

import socket
import threading

import pytest

pytest.importorskip("openai")

from depcli.backbones import served  # noqa: E402
from depcli.engines.openai import OpenAIEngine  # noqa: E402
from depcli.errors import BadInput, NotFound  # noqa: E402
from tests.engines.endpoints import GREEDY, KEY, Answer, completion, failing, failure_of, in_turn, prompt  # noqa: E402


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_and_broken_endpoints_are_asked_again(endpoint, status):
    engine, scripted = endpoint(in_turn(failing(status), failing(status), completion("at last")))
    (one,) = engine.generate([(prompt(), GREEDY)])
    assert one.text == "at last" and len(scripted.asked) == 3


@pytest.mark.parametrize(("status", "said"), [(429, "as one too many"), (500, "failed"), (502, "failed")])
def test_an_endpoint_that_stays_busy_or_broken(endpoint, status, said):
    engine, scripted = endpoint(lambda _: failing(status, "come back tomorrow"), retries=2)
    error = failure_of(engine)
    assert said in error.message and f"({status}): come back tomorrow" in error.message and scripted.url in error.message
    assert len(scripted.asked) == 3 and error.hint


@pytest.mark.parametrize("status", [301, 307])
def test_nothing_is_sent_where_an_endpoint_points_to(endpoint, status):
    _, elsewhere = endpoint(lambda _: completion("hello"))
    engine, scripted = endpoint(lambda _: Answer({}, status, {"location": f"{elsewhere.url}/chat/completions"}))
    error = failure_of(engine)
    assert f"sends requests elsewhere ({status})" in error.message and "OPENAI_BASE_URL" in error.hint
    assert len(scripted.asked) == 1 and not elsewhere.asked


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_not_tried_again(endpoint, status):
    engine, scripted = endpoint(lambda _: failing(status, f"Incorrect key\n\x1b[31m{KEY} provided"))
    error = failure_of(engine)
    assert "OPENAI_API_KEY" in error.message and "Incorrect key [31m[key] provided" in error.message
    assert len(scripted.asked) == 1


def test_an_endpoint_that_wants_a_key_where_there_is_none(endpoint):
    engine, _ = endpoint(lambda _: failing(401, "who are you?"), key="")
    assert "asks for a key" in failure_of(engine).message


def test_an_unknown_model_is_told_with_the_known_ones(endpoint):
    engine, _ = endpoint(lambda _: failing(404, "no such model"), ["qwen-small", "qwen-large"])
    error = failure_of(engine)
    assert isinstance(error, NotFound) and "'some-model'" in error.message and "qwen-small, qwen-large" in error.hint


def test_a_refused_request_is_bad_input_in_the_endpoints_words(endpoint):
    engine, scripted = endpoint(lambda _: failing(400, "temperature is not supported"))
    error = failure_of(engine)
    assert isinstance(error, BadInput) and "temperature is not supported" in error.message and len(scripted.asked) == 1
    engine, _ = endpoint(lambda _: Answer({"detail": [{"loc": ["body"], "msg": "x" * 1000}]}, 422))
    assert "(422)" in (error := failure_of(engine)).message and len(error.message) < 500


def test_a_slow_endpoint(endpoint):
    release = threading.Event()

    def answer(_):
        release.wait()
        return completion("too late")

    engine, _ = endpoint(answer, seconds=0.3)
    for on_text in (None, lambda _: None):
        assert "no completion within 0.3 s" in failure_of(engine, on_text=on_text).message
    release.set()


def test_nobody_there():
    with socket.socket() as bound:  # bound and not listening: nobody else gets this port meanwhile
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        with OpenAIEngine(served("some-model"), url=address, key=KEY, retries=0) as engine:
            error = failure_of(engine)
    assert f"no connection to the endpoint {address}" in error.message and "running" in error.hint


CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}


def chunk(text: str, finish: str | None = None) -> dict:
    return {**CHUNK, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    "answer",
    [
        Answer("<html>welcome</html>", headers={"content-type": "text/html"}),
        Answer("{not json"),
        Answer({}),
        Answer([1, 2]),
        Answer({"choices": []}),
        Answer({"choices": [{}]}),
        Answer({"choices": None}),
        Answer("null"),
        Answer({"choices": [{"message": {"content": "cut"}}]}),
    ],
    ids=lambda answer: str(answer.body)[:20],
)
def test_answers_that_are_no_completion(endpoint, answer):
    engine, _ = endpoint(lambda _: answer)
    assert "no whole chat completion" in failure_of(engine).message


@pytest.mark.parametrize(
    "events",
    [
        [],
        [chunk("half a")],
        ["{not json"],
        [{"choices": [{}]}],
        [{"x": 1}],
        [chunk("half"), "[DONE]"],
    ],
    ids=str,
)
def test_streams_that_are_no_completion(endpoint, events):
    engine, _ = endpoint(lambda _: Answer(stream=events))
    assert "no whole chat completion" in failure_of(engine, on_text=lambda _: None).message


def test_a_stream_that_breaks_off_and_one_that_counts(endpoint):
    counts = {**CHUNK, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}}
    whole = Answer(stream=[chunk(""), chunk("one "), chunk("two", "length"), counts, "[DONE]"])
    engine, _ = endpoint(in_turn(Answer(stream=[chunk("half a"), {"error": {"message": "out of memory"}}]), whole))
    assert "broke off: out of memory" in failure_of(engine, on_text=lambda _: None).message
    pieces = []
    (one,) = engine.generate([(prompt(), GREEDY)], pieces.append)
    assert pieces == ["one ", "two"] and one.text == "one two"
    assert (one.prompt_tokens, one.generated_tokens, one.finish) == (5, 6, "length")


def test_an_answer_without_text_is_empty(endpoint):
    engine, _ = endpoint(lambda _: completion(None, "length"))
    (one,) = engine.generate([(prompt(), GREEDY)])
    assert (one.text, one.finish) == ("", "length")
