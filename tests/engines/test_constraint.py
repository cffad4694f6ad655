"""Constrained JSON: whatever a model would say, its answer parses, and every engine allows the same tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest

from depcli.engines.constraint import Constraint
from depcli.engines.sampling import Sampler
from depcli.records import Sampling, SoftPrompt, Text

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 12},
            "marks": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"enum": ["good", "bad"]}},
            "kept": {"type": "boolean"},
        },
        "required": ["name", "marks", "kept"],
        "additionalProperties": False,
    }
)


def check(text: str) -> dict:
    found = json.loads(text)
    assert list(found) == ["name", "marks", "kept"] and type(found["kept"]) is bool
    assert 1 <= len(found["name"]) <= 12 and 1 <= len(found["marks"]) <= 2 and set(found["marks"]) <= {"good", "bad"}
    return found


@pytest.fixture(params=["transformers", "llamacpp"])
def engine(request, reference, llama):
    return {"transformers": reference, "llamacpp": llama}[request.param]


def test_a_random_model_writes_json_that_keeps_to_the_schema(engine, soft):
    hot = [Sampling(temperature=2.0, top_p=1.0, max_new_tokens=200, seed=seed, schema=SCHEMA) for seed in range(12)]
    texts = [completion.text for completion in engine.generate([(soft("映画", 1), sampling) for sampling in hot])]
    assert len({check(text)["name"] for text in texts}) > 6
    assert any(not text.isascii() or "\\" in text for text in texts)  # the hard case: parts of characters, escapes


def test_greedy_json_is_the_same_on_every_engine(reference, llama, soft):
    prompts = [soft("A quiet film", n % 3 + 1, "that grows " * n) for n in range(1, 6)]
    greedy = Sampling(temperature=0, max_new_tokens=200, schema=SCHEMA)
    one, other = ([c.tokens for c in engine.generate([(p, greedy) for p in prompts])] for engine in (reference, llama))
    assert one == other and all(one)


def test_masks_agree_step_by_step(reference, llama):
    theirs = [Constraint(tokenizer, SCHEMA) for tokenizer in (reference._grammar, llama._model.grammar_tokenizer())]
    real, random = len(reference.tokenizer), np.random.default_rng(0)
    ends = {reference.tokenizer.eos_token_id, reference.tokenizer.pad_token_id}
    for _ in range(200):
        one, other = (np.isfinite(constraint.narrow(np.zeros(352, np.float32))[:real]) for constraint in theirs)
        assert (one == other).all() and one.any()
        token = int(random.choice(np.flatnonzero(one)))
        if token in ends:
            break
        for constraint in theirs:
            constraint.take(token)
    assert token in ends and set(np.flatnonzero(one)) == ends  # the schema is fulfilled: nothing else may follow


def test_a_schema_concerns_its_own_request_alone(engine, soft):
    free, bound = Sampling(temperature=0, max_new_tokens=60), Sampling(temperature=0, max_new_tokens=60, schema=SCHEMA)
    prompt = soft("the songs are")
    (alone,) = engine.generate([(prompt, free)])
    mixed = list(engine.generate([(prompt, bound), (prompt, free), (prompt, bound)]))
    assert mixed[1].tokens == alone.tokens and mixed[0].tokens == mixed[2].tokens
    assert check(mixed[0].text) and mixed[0].finish == "stop"


def test_what_is_cut_off_says_so(engine, soft):
    (cut,) = engine.generate([(soft("x"), Sampling(temperature=0, max_new_tokens=5, schema=SCHEMA))])
    assert cut.finish == "length" and cut.text.startswith("{")


def test_an_impossible_schema_is_a_mistake_of_ours(engine, soft):
    with pytest.raises(ValueError, match="schema"):
        list(engine.generate([(soft("x"), Sampling(max_new_tokens=9, schema='{"type": "nothing"}'))]))


@pytest.fixture(scope="module")
def thinker(tiny_backbone):
    """The tokenizer of a reasoning model: the marks of a thought are tokens of their own."""
    from llguidance.hf import from_tokenizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer, from_tokenizer(tokenizer, eos_token=[tokenizer.eos_token_id])


def allowed(constraint: Constraint, tokenizer) -> set[str]:
    logits = constraint.narrow(np.zeros(len(tokenizer), np.float32))
    return {tokenizer.convert_ids_to_tokens(int(token)) for token in np.flatnonzero(np.isfinite(logits))}


@pytest.mark.parametrize("opened", [False, True])
def test_a_thought_is_free_and_the_schema_holds_after_it(thinker, opened):
    tokenizer, grammar = thinker
    constraint = Constraint(grammar, SCHEMA, thinking=opened)
    if not opened:
        first = allowed(constraint, tokenizer)
        assert "<think>" in first and all(piece.startswith("{") for piece in first - {"<think>"})
        constraint.take(tokenizer.convert_tokens_to_ids("<think>"))
    for token in tokenizer.encode("Well, {} or [7]? 映画"):
        assert len(allowed(constraint, tokenizer)) == len(tokenizer)
        constraint.take(token)
    constraint.take(tokenizer.convert_tokens_to_ids("</think>"))
    after = allowed(constraint, tokenizer)
    assert after and all(piece.startswith("{") for piece in after)  # no second thought


def test_a_plain_model_cannot_begin_a_thought(reference):
    first = allowed(Constraint(reference._grammar, SCHEMA), reference.tokenizer)
    assert first and all(piece.startswith("{") for piece in first)


def test_the_sampler_never_draws_what_is_not_allowed(thinker):
    tokenizer, grammar = thinker
    random = np.random.default_rng(1)
    for seed in range(20):
        sampler, tokens = Sampler(Sampling(temperature=5.0, top_p=1.0, seed=seed), Constraint(grammar, SCHEMA)), []
        while not tokens or tokens[-1] != tokenizer.eos_token_id:
            logits = random.normal(size=len(tokenizer)).astype(np.float32)
            logits[tokenizer.convert_tokens_to_ids("<think>")] = -np.inf
            tokens.append(sampler.pick(logits))
            if tokens[-1] != tokenizer.eos_token_id:
                sampler.take(tokens[-1])
        check(tokenizer.decode(tokens[:-1]))


def test_a_prompt_that_opens_a_thought_frees_the_answer(reference):
    (done,) = reference.generate(
        [(SoftPrompt((Text("hm <think>\n"),)), Sampling(temperature=1.5, max_new_tokens=30, schema=SCHEMA))]
    )
    assert done.finish == "length" and not done.text.startswith("{")
