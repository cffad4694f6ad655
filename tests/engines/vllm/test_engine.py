"""vLLM, in our own process, against transformers: the same texts, whatever is computed together or used again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.errors import BadInput, Incompatible, MissingDependency
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from tests.engines.marks import VLLM
from tests.engines.test_parity import CASES

pytestmark = VLLM

GREEDY = Sampling(temperature=0, max_new_tokens=48)
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"style": {"type": "string", "maxLength": 12}, "stars": {"enum": [1, 2, 3]}},
        "required": ["style", "stars"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def reference(wide_heads):
    with load("transformers", find(str(wide_heads)), exact=True) as engine:
        yield engine


def tokens_of(engine, requests):
    return [completion.tokens for completion in engine.generate(requests)]


def test_greedy_texts_are_those_of_the_reference(reference, vllm, soft):
    requests = [(soft(*parts), GREEDY) for parts in CASES.values()]
    expected, found = list(reference.generate(requests)), list(vllm.generate(requests))
    assert [c.tokens for c in found] == [c.tokens for c in expected]
    for one, other in zip(expected, found, strict=True):
        assert (one.text, one.finish, one.prompt_tokens) == (other.text, other.finish, other.prompt_tokens)
    assert len({c.text for c in found}) == len(CASES)


def test_neither_pieces_nor_used_again_prompts_change_a_text(reference, pieces, soft):
    """Prompts read 64 positions at a time; beginnings that were read before, with other soft tokens behind or in them."""
    long = "We've seen this before, and they'll make it again. " * 6
    first = soft(long, 3, long, 2, " and")
    other = SoftPrompt((*first.parts[:1], Vectors(first.parts[1].rows * 1.5), *first.parts[2:]), 64)
    later = SoftPrompt((*first.parts[:3], Vectors(first.parts[3].rows[::-1].copy()), first.parts[4]), 64)
    named = [SoftPrompt(first.parts, 64, origin=name) for name in ("one", "two")]
    requests = [(prompt, GREEDY) for prompt in (first, first, other, later, *named, soft(long), first)]
    expected = tokens_of(reference, requests)
    assert len(set(expected)) >= 3
    assert tokens_of(pieces, requests) == expected
    assert tokens_of(pieces, requests[::-1]) == expected[::-1]


def test_salts_keep_states_apart(pieces, soft, monkeypatch):
    prompt, core, cached = soft("The plot is thin; the actors are not. " * 8, 2), pieces._vllm.core, []
    step = core.step

    def watched():
        outputs = step()
        cached.extend(output.num_cached_tokens for output in outputs if output.finished)
        return outputs

    monkeypatch.setattr(core, "step", watched)
    first = []  # of what was used again by each: a text that is written twice finds its own prompt
    for origin in ("red", "red", "blue"):
        cached.clear()
        list(pieces.generate([(SoftPrompt(prompt.parts, 64, origin=origin), GREEDY)]))
        first.append(cached[0])
    assert first[0] == first[2] == 0 and first[1] > 100


def test_seeds_do_not_depend_on_neighbours_or_order(vllm, soft):
    requests = [
        (soft("an opinion " * n, 2), Sampling(temperature=0.9, top_p=0.95, max_new_tokens=24, seed=n)) for n in range(1, 9)
    ]
    alone = [tokens_of(vllm, [request])[0] for request in requests]
    assert tokens_of(vllm, requests) == alone and tokens_of(vllm, requests[::-1]) == alone[::-1]
    assert len(set(alone)) == 8


def test_a_schema_holds_as_with_the_reference(reference, vllm, soft):
    sampling = Sampling(temperature=0, max_new_tokens=120, schema=SCHEMA)
    requests = [(soft(text, 1, "so: "), sampling) for text in ("Answer in JSON. ", "Another one. ", "Stars? ")]
    expected = list(reference.generate(requests))
    found = list(vllm.generate(requests))
    assert [c.tokens for c in found] == [c.tokens for c in expected]
    assert all(json.loads(c.text)["stars"] in (1, 2, 3) and c.finish == "stop" for c in found)


def test_a_thought_comes_before_the_schema(vllm, soft):
    """A random model never ends its thought: it is free to write what a schema would not let it."""
    (free,) = vllm.generate([(soft("Think first. <think>"), Sampling(temperature=0, max_new_tokens=40, schema=SCHEMA))])
    assert free.generated_tokens == 40 and not free.text.startswith("{")


def test_temperatures_that_vllm_does_not_take(vllm, soft):
    with pytest.raises(Incompatible, match="temperatures up to 2"):
        list(vllm.generate([(soft("a"), Sampling(temperature=2.5, max_new_tokens=4))]))


def test_the_grammar_of_thought_and_schema(reference, soft):
    """Which tokens it allows: any until the thought's end, then those of the schema, then the end of the text."""
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    from depcli.engines.vllm.prompts import params_of

    tokenizer, answer = from_tokenizer(reference.tokenizer), '{"style":"dry","stars":2}'
    sampling = Sampling(schema=SCHEMA)
    for head, thinks, text in (("<think>", False, "a {b}</think>"), ("so: ", True, "<think>a {b}</think>"), ("so: ", True, "")):
        grammar = params_of(soft(head), sampling, frozenset([0]), thinks=thinks).structured_outputs.grammar
        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(grammar))
        assert matcher.consume_tokens(tokenizer.tokenize_str(text + answer)) and matcher.is_accepting(), (head, text)
        matcher.reset()
        assert not matcher.consume_tokens(tokenizer.tokenize_str(text + " " + answer))


def test_tensors_under_way_have_a_bound(vllm, soft, monkeypatch):
    prompt = soft("a film", 1)
    monkeypatch.setattr(vllm._vllm, "room_beside", 3 * 4 * 64 * (vllm.count("a film") + 1))
    under_way, done = [], 0

    def requests():
        for taken in range(20):
            under_way.append(taken - done)
            yield prompt, replace(GREEDY, max_new_tokens=1)

    for _ in vllm.generate(requests()):
        done += 1
    assert done == 20 and max(under_way) == 2


def test_completions_come_in_the_order_of_their_requests(vllm, soft):
    requests = [(soft(f"number {n} of ", 1), replace(GREEDY, max_new_tokens=1 + 40 * (n % 4 == 0))) for n in range(12)]
    together = tokens_of(vllm, requests)
    assert together == [tokens_of(vllm, [request])[0] for request in requests]
    assert [len(tokens) > 1 for tokens in together] == [n % 4 == 0 for n in range(12)]


def test_a_window_that_is_left_lets_go_of_what_was_under_way(vllm, soft):
    endless = replace(GREEDY, max_new_tokens=1500)
    completions = vllm.generate([(soft("the plot"), replace(GREEDY, max_new_tokens=1)), *[(soft("is thin"), endless)] * 5])
    next(completions)
    completions.close()
    assert not vllm._vllm.core.has_unfinished_requests()


def test_what_was_asked_before_a_bad_request_is_written_first(vllm, soft):
    good, bad = (soft("a film", 1), GREEDY), (soft("word " * 2000), GREEDY)
    done = []
    with pytest.raises(BadInput, match="tokens and 48 more"):
        for completion in vllm.generate([good, good, bad, good]):
            done.append(completion)
    assert len(done) == 2
    assert tokens_of(vllm, [good]) == [done[0].tokens]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.full((2, 64), 1e39, np.float64), "not finite"),
        (np.zeros((2, 64), np.float32), "all zero"),
        (np.ones((2, 64), np.int64), "floating-point"),
        (np.ones((2, 32), np.float32), "2 x 64"),
        (np.ones((3, 64), np.float32), "2 x 64"),
        (np.ones(64, np.float32), "2 x 64"),
        (np.array([[1.0] * 64, [np.nan] * 64], np.float32), "not finite"),
        (np.full((2, 64), 1e-30, np.float32), "all zero"),
    ],
)
def test_soft_tokens_are_checked_as_the_model_reads_them(vllm, rows, said):
    import torch

    from depcli.engines.vllm.prompts import check_rows

    tensor = torch.from_numpy(rows)
    with pytest.raises(BadInput, match=said):
        check_rows(tensor.to(torch.float16) if tensor.dtype.is_floating_point else tensor, 2, 64)


def test_rows_that_changed_after_they_were_checked_are_refused(vllm, soft):
    prompt = soft("a", 2)
    prompt.parts[1].rows[1] = np.inf
    with pytest.raises(BadInput, match="not finite"):
        list(vllm.generate([(prompt, GREEDY)]))


def test_the_mixed_form(soft, reference):
    import torch

    from depcli.backbones.sequence import encode
    from depcli.engines.vllm.prompts import mixed

    prompt = soft("a film", 2, " and ", 1)
    prompt = SoftPrompt(prompt.parts, 64, origin="adapter")
    given = mixed(prompt, encode(prompt.parts, reference.tokenizer), torch.bfloat16)
    mask = torch.tensor(given["prompt_is_token_ids"])
    assert given["cache_salt"] == "adapter" and given["prompt_embeds"].dtype == torch.bfloat16
    assert (~mask).sum() == 3 and not given["prompt_embeds"][mask].any() and given["prompt_embeds"][~mask].any(dim=1).all()
    ids = [i for i, real in zip(given["prompt_token_ids"], mask, strict=True) if real]
    assert ids == reference.tokenizer("a film")["input_ids"] + reference.tokenizer(" and ")["input_ids"]
    text = SoftPrompt((Text("plain"),))
    assert list(mixed(text, encode(text.parts, reference.tokenizer), torch.float32)) == ["prompt_token_ids"]


def test_a_device_it_is_not_built_for(tiny_backbone):
    from vllm.platforms import current_platform

    other, built = ("cuda", "CPUs") if current_platform.is_cpu() else ("cpu", "GPUs")
    with pytest.raises(MissingDependency, match=f"built for {built}"):
        load("vllm", find(str(tiny_backbone)), device=other)


def test_what_the_engine_is_asked_to_make_a_request_shows_in_no_text(vllm, soft):
    requests = [(soft("number", i + 1, "the plot"), replace(GREEDY, max_new_tokens=2 + 9 * i)) for i in range(4)]
    other = [(soft("Un très bon disque", 2, "très doux"), replace(GREEDY, max_new_tokens=30)) for _ in range(2)]
    expected, said = tokens_of(vllm, requests), tokens_of(vllm, other)

    def made():
        for request in requests:
            assert tokens_of(vllm, other) == said
            yield request

    assert tokens_of(vllm, made()) == expected
