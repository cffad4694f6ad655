"""What a pass leaves out changes no loss and no gradient: against full logits at every position, one sequence after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM

from depcli.backbones import passes, sequence
from depcli.backbones.fp8 import to_fp8
from depcli.backbones.sequence import Encoded, target_losses
from depcli.errors import Incompatible

V, H = 97, 32
SIZES = {
    "vocab_size": V,
    "hidden_size": H,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES = {
    "qwen2": {},
    "llama": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 20, "head_dim": 8},  # attention that is not plainly causal: no separate beginning
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "gpt_neox": {},  # its feed-forward part has another layout
    "granite": {"logits_scaling": 8.0},
    "cohere": {},
    "gemma2": {"final_logit_softcapping": 2.0, "head_dim": 8, "sliding_window": 20},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": H},  # its decoder lies one deeper
    "gpt2": {"n_embd": H, "n_layer": 2, "n_head": 4, "n_positions": 256},  # its layers are called otherwise
}


def build(kind: str, dtype=torch.float32):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(SIZES | ARCHITECTURES[kind]))
    config._attn_implementation = "sdpa"
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval().requires_grad_(False)
    with torch.no_grad():  # from_config's tiny weights would make every loss log(V)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model


def batch_of(*shapes) -> list[Encoded]:
    """Sequences of (length, positions of soft tokens, targets)."""
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(3, V, length).astype(np.int32), np.array(soft, np.int32), n) for length, soft, n in shapes]


BATCH = batch_of((60, (25, 26, 40), 9), (48, (31, 47 - 5), 5), (70, (66,), 3), (50, (), 4))


def rows_of(batch) -> torch.Tensor:
    count = sum(len(entry.soft) for entry in batch)
    return (torch.randn(count, H, generator=torch.Generator().manual_seed(1)) * 0.5).requires_grad_()


def slow(model, batch, rows) -> torch.Tensor:
    found, used = [], 0
    for entry in batch:
        ids = torch.from_numpy(entry.ids.astype(np.int64))
        embeds = model.get_input_embeddings()(ids).clone()
        embeds[torch.from_numpy(entry.soft).long()] = rows[used : used + len(entry.soft)].to(embeds.dtype)
        used += len(entry.soft)
        logits = model(inputs_embeds=embeds[None]).logits[0].float()
        n = entry.targets
        found.append(F.cross_entropy(logits[-n - 1 : -1], ids[-n:], reduction="none"))
    return torch.cat(found)


def compare(model, batch, *, rtol=1e-4, atol=1e-6, reference=None):
    rows, weights = rows_of(batch), torch.linspace(0.5, 2, sum(entry.targets for entry in batch))
    expected = slow(reference or model, batch, rows)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), rows)
    found = target_losses(model, batch, rows)
    (gradient,) = torch.autograd.grad((found * weights).sum(), rows)
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)
    torch.testing.assert_close(gradient, wanted, rtol=rtol * 10, atol=atol + rtol * wanted.abs().max().item())
    assert wanted.abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_losses_and_gradients_of_every_architecture_equal_those_of_full_logits(kind):
    model = build(kind)
    compare(model, BATCH)
    assert model.config._attn_implementation == "sdpa"
    with torch.no_grad():
        torch.testing.assert_close(target_losses(model, BATCH, rows_of(BATCH)), slow(model, BATCH, rows_of(BATCH)))


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_lengths_in_steps_change_nothing_and_stay_within_the_context(kind, monkeypatch):
    monkeypatch.setattr(sequence, "grain_of", lambda model: 100)
    compare(build(kind), batch_of((250, (140, 200), 5), (180, (150,), 4)))


@pytest.mark.parametrize(
    ("kind", "rope"),
    [
        ("llama", {"rope_type": "dynamic", "factor": 4.0}),
        ("phi3", {"rope_type": "longrope", "long_factor": [3.0] * 4, "short_factor": [1.0] * 4}),
    ],
)
def test_a_beginning_that_would_turn_otherwise_than_the_whole_is_not_separate(kind, rope, monkeypatch):
    """Beyond 40 positions all angles are others."""
    told = {"rope_parameters": rope | {"rope_theta": 1e4, "original_max_position_embeddings": 40}}
    told |= {"original_max_position_embeddings": 40} if kind == "phi3" else {"max_position_embeddings": 40}
    monkeypatch.setitem(ARCHITECTURES, kind, told)
    compare(build(kind), batch_of((70, (25, 26), 5)))


def test_in_bfloat16_they_are_equal_within_its_rounding():
    compare(build("qwen2", torch.bfloat16), BATCH, rtol=3e-2, atol=3e-2)


def test_a_separate_beginning_in_fp8():
    model = build("qwen2")
    to_fp8(model, model.get_output_embeddings())
    compare(model, BATCH, rtol=0.02, atol=0.3)


@pytest.mark.parametrize("kind", ["qwen2", "mistral"])
def test_gradient_checkpointing_changes_nothing(kind):
    model = build(kind)
    passes.checkpoint_layers(model)
    compare(model, BATCH, reference=build(kind))


def test_gradient_checkpointing_keeps_less():
    def kept(model) -> int:
        sizes: dict[int, int] = {}

        def note(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        rows = rows_of(BATCH)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            alive = target_losses(model, BATCH, rows).sum()
        assert alive.requires_grad
        return sum(sizes.values())

    model = build("qwen2")
    before = kept(model)
    passes.checkpoint_layers(model)
    assert kept(model) < 0.6 * before


def test_gradient_checkpointing_of_a_layout_nobody_knows():
    with pytest.raises(Incompatible, match="gpt2"):
        passes.checkpoint_layers(build("gpt2"))


@pytest.mark.parametrize(("kind", "separate"), [("qwen2", True), ("mistral", False)])
def test_positions_before_the_first_soft_token_have_no_graph(kind, separate):
    """Of the query projection's outputs, only those behind the beginning (25 positions here) may ask for a gradient."""
    model, seen = build(kind), []
    model.base_model.layers[1].self_attn.q_proj.register_forward_hook(
        lambda module, inputs, output: seen.append((output.shape[1], output.requires_grad))
    )
    target_losses(model, BATCH, rows_of(BATCH))
    assert seen == ([(25, False), (45, True)] if separate else [(25, False), (70, True)])


def test_the_last_feed_forward_runs_at_targets_alone():
    model, seen = build("qwen2"), []
    for layer in model.base_model.layers:
        layer.mlp.down_proj.register_forward_hook(lambda module, inputs, output: seen.append(output.numel() // H))
    with torch.no_grad():
        target_losses(model, BATCH, rows_of(BATCH))
    assert seen == [4 * 70, 4 * 70, sum(entry.targets for entry in BATCH)]


def test_a_decoder_that_cannot_be_found_is_said():
    config = AutoConfig.for_model(
        "llama4_text", **SIZES, head_dim=8, num_local_experts=2, intermediate_size_mlp=48, attention_chunk_size=64
    )
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    with pytest.raises(Incompatible, match="llama4_text") as error:
        target_losses(model, BATCH[3:], None)
    assert error.value.hint
