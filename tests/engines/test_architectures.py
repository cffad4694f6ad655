"""Backbones that are not Qwen2: windows that attention slides over, scaled embedding tables, capped attention, other ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from depcli.backbones import chat_of, find, load_model, load_tokenizer
from depcli.engines.transformers import TransformersEngine
from depcli.errors import Incompatible
from depcli.evaluation.measures.likelihood import WeightsScorer
from depcli.recipes.tokenizer import train
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from depcli.training.prepared import _token_norm
from tests.tiny import TEXT

H = 32
SIZES = {
    "hidden_size": H,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
KINDS = {
    "mistral": {"sliding_window": 12},
    "gemma2": {"sliding_window": 12, "attn_logit_softcapping": 1.0, "query_pre_attn_scalar": 8},
    "gemma3_text": {"sliding_window": 12, "query_pre_attn_scalar": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
    "gpt_oss": {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 12},  # there is no SDPA for it
}
GREEDY = Sampling(temperature=0, max_new_tokens=16)


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    """A model folder of this kind, with the tokenizer of the tests."""
    tokenizer = train(TEXT.splitlines() * 20, 338)
    config = AutoConfig.for_model(request.param, vocab_size=352, **(SIZES | KINDS[request.param]))
    config.pad_token_id, config.eos_token_id, config.bos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
    path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def prompts(chat) -> list[SoftPrompt]:
    """Of lengths on both sides of the window, with soft tokens in their midst."""
    rng = np.random.default_rng(0)
    found = []
    for sentences in (3, 0, 1, 5):
        before, after = chat.render("Write.", "A quiet film. " * sentences + "@ It grows on you.").split("@")
        found.append(SoftPrompt((Text(before), Vectors(rng.standard_normal((2, H)).astype(np.float32)), Text(after)), H))
    return found


def ids_and_embeddings(model, tokenizer, prompt: SoftPrompt, answer: str | None):
    """What the model reads, laid out by hand."""
    ids, at, rows = [], [], []
    for part in prompt.parts:
        if isinstance(part, Text):
            ids += tokenizer(part.text, add_special_tokens=False)["input_ids"]
        else:
            at += range(len(ids), len(ids) + len(part.rows))
            rows.append(part.rows)
            ids += [0] * len(part.rows)
    begun = len(ids)
    if answer is not None:
        ids += [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    embeds = model.get_input_embeddings()(torch.tensor([ids])).clone()
    embeds[0, at] = torch.from_numpy(np.concatenate(rows))
    return ids, begun, embeds


@torch.no_grad()
def test_texts_and_likelihoods_are_those_of_the_plain_model(folder):
    """Whatever is written beside: each token of a text is the likeliest one after all before it, read anew without a cache."""
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    backbone = find(str(folder))
    tokenizer, model = load_tokenizer(backbone), load_model(backbone, device="cpu")
    asked, answer = prompts(chat_of(tokenizer)), "The plot is thin; the actors are not."
    with TransformersEngine(model, tokenizer, backbone) as engine:
        together = [one.tokens for one in engine.generate([(prompt, GREEDY) for prompt in asked])]
    scored = list(WeightsScorer(lambda: model, tokenizer).likelihoods((prompt, answer) for prompt in asked))
    for prompt, tokens, likelihood in zip(asked, together, scored, strict=True):
        ids, begun, embeds = ids_and_embeddings(plain, tokenizer, prompt, answer)
        chances = plain(inputs_embeds=embeds).logits[0].log_softmax(-1)
        assert likelihood.nats == pytest.approx(-sum(chances[i - 1, ids[i]].item() for i in range(begun, len(ids))), rel=1e-5)
        _, _, embeds = ids_and_embeddings(plain, tokenizer, prompt, None)
        for token in tokens:
            logits = plain(inputs_embeds=embeds).logits[0, -1, : len(tokenizer)]
            assert logits[token] >= logits.max() - 1e-4
            embeds = torch.cat([embeds, plain.get_input_embeddings()(torch.tensor([[token]]))], dim=1)


def test_a_window_that_is_not_reached_costs_nothing(folder, monkeypatch):
    """Side by side, in one pass for all: `_steps` is asked once."""
    backbone = find(str(folder))
    tokenizer, model, asked = load_tokenizer(backbone), load_model(backbone, device="cpu"), []
    monkeypatch.setattr(TransformersEngine, "_steps", lambda self, drafts, rows: asked.append(len(drafts)) or iter(()))
    with TransformersEngine(model, tokenizer, backbone) as engine:
        kept = engine._kept
        assert kept == (0 if model.config.model_type == "lfm2" else 12)
        short = SoftPrompt((Text("A film."),))
        length = len(tokenizer("A film.")["input_ids"])
        for room in (12 - length, 13 - length):
            engine._write([(short, Sampling(max_new_tokens=room))] * 2, None)
    assert asked == ([1, 1, 1, 1] if not kept else [2, 1, 1])


@torch.no_grad()
def test_soft_tokens_begin_as_long_as_the_tokens_that_layers_see(folder):
    model = load_model(find(str(folder)), device="cpu")
    seen = model.get_input_embeddings()(torch.arange(352)).norm(dim=1).mean().item()
    assert _token_norm(model) == pytest.approx(seen, rel=1e-4)


def test_a_review_ends_as_the_chat_format_ends_an_answer(folder, tmp_path):
    """Not with the token that a tokenizer calls its end, which may be that of a document."""
    tokenizer = load_tokenizer(find(str(folder)))
    assert tokenizer.eos_token == "<|im_end|>"
    tokenizer.eos_token = "<|endoftext|>"
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(find(str(tmp_path)))
    assert again.eos_token == chat_of(again).end == "<|im_end|>"


def test_a_tokenizer_of_another_model_is_refused(tiny_backbone):
    backbone = find(str(tiny_backbone))
    tokenizer, model = load_tokenizer(backbone), load_model(backbone, device="cpu")
    model.resize_token_embeddings(300)
    prompt = SoftPrompt((Text("<|im_end|>" + "".join(tokenizer.convert_ids_to_tokens(range(300, 337)))),))
    with (
        TransformersEngine(model, tokenizer, backbone) as engine,
        pytest.raises(Incompatible, match="the model's table only 300") as error,
    ):
        list(engine.generate([(prompt, GREEDY)]))
    assert "of different models" in error.value.hint
