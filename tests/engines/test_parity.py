"""llama.cpp and transformers compute the same thing from the same soft prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depcli.backbones.sequence import embed, encode
from depcli.records import Sampling, Vectors

CASES = {
    "text only": ("<|im_start|>user\nA quiet film<|im_end|>\n<|im_start|>assistant\n",),
    "vectors inside": ("<|im_start|>user\n[Review] fine ", 3, " and ", 2, "<|im_end|>\n<|im_start|>assistant\n"),
    "vectors first": (2, "the plot is thin"),
    "vectors last": ("the plot is thin", 4),
    "vectors alone": (3,),
    "vectors beside vectors": ("a", 1, 2, "b"),
    "empty text between": ("a", 1, "", 1, "b"),
    "longer than a batch": ("We've seen this before, and they'll make it again. " * 16, 5, "Über 映画 🎉"),
    "more rows than a batch": ("x", 600, "y"),
}


def reference_logits(engine, prompt) -> np.ndarray:
    """All the way through the model in one pass, without any cache: (vocabulary,) of the last position."""
    encoded = encode(prompt.parts, engine.tokenizer)
    rows = [part.rows for part in prompt.parts if isinstance(part, Vectors)]
    with torch.no_grad():
        embeds = embed(engine.model, [encoded], torch.from_numpy(np.concatenate(rows)) if rows else None)
        return engine.model(inputs_embeds=embeds).logits[0, -1].numpy()


@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_text_agree(reference, llama, soft, case):
    prompt = soft(*CASES[case])
    expected, found = reference_logits(reference, prompt), llama.next_logits(prompt)
    real = len(reference.tokenizer)
    assert np.abs(expected[:real] - found[:real]).max() < 1e-4
    assert np.ptp(expected) > 1  # the comparison above means something
    assert np.isneginf(found[real:]).all() and len(found) == len(expected)

    greedy = Sampling(temperature=0, max_new_tokens=48)
    (one,) = reference.generate([(prompt, greedy)])
    (other,) = llama.generate([(prompt, greedy)])
    assert one.tokens == other.tokens and len(one.tokens) > 0
    assert (one.text, one.finish, one.prompt_tokens) == (other.text, other.finish, other.prompt_tokens)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_texts_agree_wherever_soft_tokens_stand(reference, llama, soft, seed):
    """Parts of random lengths in random order, many of them as long as a batch or one more or less."""
    random = np.random.default_rng(seed)

    def part() -> str | int:
        if random.random() < 0.5:
            return "scene by scene " * int(random.choice([0, 1, 2, 7, 30]))
        return int(random.choice([1, 2, 31, 32, 33, 63, 64, 65, 129]))

    requests = [
        (soft(*(part() for _ in range(random.integers(1, 8))), "It is"), Sampling(temperature=0, max_new_tokens=8))
        for _ in range(8)
    ]
    one, other = ([done.tokens for done in engine.generate(requests)] for engine in (reference, llama))
    assert one == other and len(set(one)) > 4


def test_the_same_seed_draws_the_same_text_in_both_engines(reference, llama, soft):
    draws = [Sampling(temperature=0.8, top_p=0.95, max_new_tokens=32, seed=seed) for seed in range(6)]
    requests = [(soft("an", 2, "opinion"), sampling) for sampling in draws]
    texts = [completion.text for completion in reference.generate(requests)]
    assert texts == [completion.text for completion in llama.generate(requests)]
    assert len(set(texts)) > 1


@pytest.mark.parametrize(
    "text",
    [
        "plain words, nothing else",
        "I'd say they'll've 'S'",
        "tabs\tand\r\nlines\n\n\n  end  ",
        " " * 90 + "x" + " " * 17,
        "\n" * 40,
        "映画はとても良かった。音楽也很好听",
        "emoji 🎉👩‍👩‍👧‍👦🇫🇷 mixed🎬in",
        "12345 67,890.12",
        "Ünïcödé ǅ ß ﬁ",
        "e\u0301 o\u0302 decomposed a\u030a",
        "한국어 \u1112\u1161\u11ab",
        "<|im_start|>user\nx<|im_end|>\n<|endoftext|>y",
        "<|im_start|><|im_start|>",
        "<|im_start >not a token|>",
        "\u00a0nbsp\u2003em\u3000wide",
        "\u200bzero\u200dwidth\ufeff",
        "\x00nul\x1b[31mred",
        "عربى हिन्दी ไทย",
        "a" * 500,
        "!!!???...---",
        "[Item Title] It's 4.5/5 (two-part)\n[Review] ",
    ],
)
def test_both_tokenize_alike(reference, llama, soft, text):
    (part,) = soft(text).parts
    expected = encode([part], reference.tokenizer).ids.tolist()
    assert llama._tokenize(text) == expected
    assert reference.count(text) == llama.count(text) == len(expected)


def test_the_file_alone_knows_the_chat_format(reference, llama):
    assert llama.chat == reference.chat
    assert llama.chat.end == "<|im_end|>" and "<|im_start|>" in llama.chat.specials and llama.chat.bos == ""
    assert (llama.width, llama.context) == (reference.width, reference.context)
