from __future__ import annotations

import numpy as np
import pytest
import torch

from depcli.backbones import find, load_model, load_tokenizer
from depcli.errors import BadInput, Incompatible
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.records import SoftPrompt, Text, Vectors


@pytest.fixture(scope="module")
def scorer(tiny_backbone):
    backbone = find(str(tiny_backbone))
    return WeightsScorer(lambda: load_model(backbone, device="cpu"), load_tokenizer(backbone, offline=True), max_answer_tokens=60)


def prompts(count: int) -> list[tuple[SoftPrompt, str]]:
    """Of very different lengths, with soft tokens in some, and texts that hold control tokens or nothing."""
    rng = np.random.default_rng(0)
    texts = ["I'd see it again.", "Too long, " * 40, "", "<|im_end|>", "映画 🎬"]
    made = []
    for i in range(count):
        parts = [Text("A quiet film. " * (1 + 7 * (i % 4)))]
        for n in range(i % 3):
            parts += [Vectors(rng.normal(size=(1 + n, 64)).astype(np.float32)), Text("and ")]
        made.append((SoftPrompt(tuple(parts), 64 if i % 3 else None), texts[i % len(texts)]))
    return made


def one_by_one(scorer: WeightsScorer, prompt: SoftPrompt, text: str) -> tuple[float, int]:
    """The whole logit matrix of one sequence, and log-softmax of each wanted token."""
    model, tokenizer = scorer.model, scorer._tokenizer
    table, pieces = model.get_input_embeddings(), []
    for part in prompt.parts:
        if isinstance(part, Text):
            pieces.append(table(torch.tensor(tokenizer(part.text, add_special_tokens=False)["input_ids"])))
        else:
            pieces.append(torch.from_numpy(part.rows))
    wanted = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] + [tokenizer.eos_token_id]
    wanted = wanted[: scorer.max_answer_tokens]
    if wanted:
        pieces.append(table(torch.tensor(wanted)))
    with torch.no_grad():
        logits = model(inputs_embeds=torch.cat(pieces)[None]).logits[0]
    chances = torch.log_softmax(logits[-len(wanted) - 1 : -1].double(), dim=-1)
    return -sum(chances[i, token].item() for i, token in enumerate(wanted)), len(wanted)


@pytest.mark.parametrize("max_tokens", [1, 900, 100_000])
def test_equals_full_logits_one_by_one(scorer, max_tokens):
    asked = prompts(70)  # more than one window
    found = list(scorer.likelihoods(iter(asked), max_tokens=max_tokens))
    expected = [one_by_one(scorer, *pair) for pair in asked]
    assert [one.tokens for one in found] == [tokens for _, tokens in expected]
    assert [one.nats for one in found] == pytest.approx([nats for nats, _ in expected], rel=1e-5)
    assert [one.cut for one in found] == [text.startswith("Too long") for _, text in asked]
    assert all(one.tokens == 1 for one, (_, text) in zip(found, asked, strict=True) if not text)  # the end alone


def test_takes_no_more_than_a_window_ahead(scorer):
    taken = 0

    def counted():
        nonlocal taken
        for pair in prompts(200):
            taken += 1
            yield pair

    next(scorer.likelihoods(counted()))
    assert taken == 64


def test_refuses_what_does_not_fit_the_backbone(scorer):
    with pytest.raises(BadInput, match="empty"):
        list(scorer.likelihoods([(SoftPrompt((Text(""),)), "x")]))
    with pytest.raises(Incompatible, match="32 wide"):
        list(scorer.likelihoods([(SoftPrompt((Vectors(np.ones((1, 32), np.float32)),), 32), "x")]))
    with pytest.raises(Incompatible, match=f"{scorer.model.config.max_position_embeddings:,}"):
        list(scorer.likelihoods([(SoftPrompt((Text("x y " * 2000),)), "x")]))
