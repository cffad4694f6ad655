"""Likelihoods by llama.cpp: those of the weights, and the same whatever the engine did before."""

from __future__ import annotations

import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.engines.sampling import negative_log_likelihood
from depcli.engines.tuning import Tuning
from depcli.errors import BadInput, DepError, Incompatible
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from tests.engines.test_parity import CASES

DRAWN = Sampling(max_new_tokens=20, seed=5)
TEXTS = {
    "some words": "I'd see it again.",
    "nothing": "",
    "control tokens": "<|im_end|>\n<|im_start|>user\nand <|endoftext|>",
    "one token": "a",
    "as long as a batch or more": "Too long, " * 63,
    "odd": "映画 🎬 e\u0301 \x00",
}


@pytest.fixture(scope="module")
def by_weights(reference):
    return WeightsScorer(lambda: reference.model, reference.tokenizer, 400)


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_weights(llama, by_weights, soft, case):
    asked = [(soft(*CASES[case]), text) for text in TEXTS.values()]
    found = [llama.likelihood(prompt, text, 400) for prompt, text in asked]
    expected = list(by_weights.likelihoods(asked))
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.nats for one in found] == pytest.approx([one.nats for one in expected], rel=1e-5)
    assert len({one.tokens for one in found}) > 3 and not any(one.cut for one in found)
    assert found[1].tokens == 1, "the end alone"


@pytest.mark.parametrize("most", [1, 2, 63, 64, 65, 66, 129, 130, 1000])
def test_a_long_text_is_cut_where_the_other_scorer_cuts_it(llama, reference, soft, most):
    prompt, text = soft("It is", 2, "so"), "Too long, " * 60
    (expected,) = WeightsScorer(lambda: reference.model, reference.tokenizer, most).likelihoods([(prompt, text)])
    found = llama.likelihood(prompt, text, most)
    assert (found.tokens, found.cut) == (expected.tokens, expected.cut)
    assert found.nats == pytest.approx(expected.nats, rel=1e-5)
    assert found.cut == (most < 1000)


@pytest.mark.parametrize("parallel", [1, 3])
def test_what_was_done_before_shows_in_no_bit(tiny_backbone, soft, parallel):
    def engine():
        return load("llamacpp", find(str(tiny_backbone)), tuning=Tuning(parallel=parallel))

    prompts = [soft("The plot is " * 30, 3, "thin" * n) for n in (1, 2, 40)]
    prompts.append(SoftPrompt((*prompts[0].parts[:2], Text("other")), prompts[0].width))
    text = "Said of it: " + "quiet and long. " * 30
    alone, drawn = [], []
    for prompt in prompts:
        with engine() as fresh:
            alone.append(fresh.likelihood(prompt, text, 500))
        with engine() as fresh:
            drawn += [done.tokens for done in fresh.generate([(prompt, DRAWN)])]
    with engine() as used:
        for i in (0, 0, 1, 3, 2, 0):
            assert used.likelihood(prompts[i], text, 500) == alone[i]
            (done,) = used.generate([(prompts[i], DRAWN)])
            assert done.tokens == drawn[i]
            assert used.likelihood(prompts[i], text, 500) == alone[i]
            assert used.likelihood(prompts[i], "else", 500) != alone[i]
            assert used.reused == done.prompt_tokens, "a prompt that was just written to is not read again"


def test_between_the_requests_of_a_run(tiny_backbone, soft):
    prompts = [soft("The plot is " * 20, n, "thin") for n in (1, 2, 3)]
    with load("llamacpp", find(str(tiny_backbone))) as engine:
        texts = [done.tokens for done in engine.generate((prompt, DRAWN) for prompt in prompts for _ in range(2))]
        expected = [engine.likelihood(prompt, "so it is", 9) for prompt in prompts]
        asked, found, again = iter(prompts), [], []
        for number, done in enumerate(engine.generate((prompt, DRAWN) for prompt in prompts for _ in range(2))):
            again.append(done.tokens)
            if number % 2:
                found.append(engine.likelihood(next(asked), "so it is", 9))
                assert engine.reused == done.prompt_tokens
    assert found == expected and again == texts


def test_a_text_that_needs_more_memory_than_the_writing(tiny_backbone, soft):
    prompt, text = soft("short", 1), "word " * 1100
    with load("llamacpp", find(str(tiny_backbone))) as engine:
        expected = engine.likelihood(prompt, text, 1500)
    with load("llamacpp", find(str(tiny_backbone))) as engine:
        list(engine.generate([(prompt, DRAWN)]))
        assert engine.likelihood(prompt, text, 1500) == expected
        assert expected.tokens > 1024


def test_refuses_what_does_not_fit(llama, soft):
    with pytest.raises(Incompatible, match=f"{llama.context:,}"):
        llama.likelihood(soft("x y " * 1000), "x " * 2000, 4000)
    with pytest.raises(BadInput, match="empty"):
        llama.likelihood(SoftPrompt((Text(""),)), "x", 9)
    with pytest.raises(Incompatible, match="32 wide"):
        llama.likelihood(SoftPrompt((Vectors(np.ones((1, 32), np.float32)),), 32), "x", 9)


def test_what_is_not_a_number_is_said_and_does_not_reach_the_next(llama, soft):
    plain = soft("a", 2, "b")
    expected = llama.likelihood(plain, "it is", 9)
    rows = np.ones((2, llama.width), np.float32)
    broken = SoftPrompt((Text("a"), Vectors(rows), Text("b")), llama.width)
    rows[1] = np.nan  # behind the back of every check
    with pytest.raises(DepError, match="not a number"):
        llama.likelihood(broken, "it is", 9)
    assert llama.likelihood(plain, "it is", 9) == expected


def test_negative_log_likelihood_equals_the_formula_in_float64():
    random = np.random.default_rng(0)
    logits = (random.normal(size=(7, 50)) * 40).astype(np.float32)
    logits[3] += 1000
    tokens = random.integers(0, 50, 7)
    slow = sum(np.log(np.exp(row.astype(np.float64) - row[token]).sum()) for row, token in zip(logits, tokens, strict=True))
    assert negative_log_likelihood(logits, tokens) == pytest.approx(slow, rel=1e-6)
