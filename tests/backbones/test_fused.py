"""Compiled parts of a layer give the losses and gradients of the plain ones. Where kernels are at stake, the compiler runs for
real, on the CPU."""

from __future__ import annotations

import copy
import sys

import pytest
import torch

from depcli.backbones.fp8 import to_fp8
from depcli.backbones.fused import fuse, is_fused, rotate_flat
from depcli.backbones.passes import checkpoint_layers
from tests.backbones.test_passes import ARCHITECTURES, BATCH, batch_of, build, compare


@pytest.fixture(autouse=True)
def compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    with torch._dynamo.config.patch(suppress_errors=False):
        yield
        torch._dynamo.reset()


@pytest.mark.filterwarnings("default")  # of the compiler's own
@pytest.mark.parametrize(("fp8", "tolerance"), [(False, {}), (True, {"rtol": 0.02, "atol": 0.3})])
def test_losses_and_gradients_stay_whatever_the_shape(fp8, tolerance):
    model = build("qwen2")
    if fp8:
        to_fp8(model, model.get_output_embeddings())
    plain = copy.deepcopy(model)
    fuse(model)
    torch._dynamo.config.suppress_errors = False
    compare(model, BATCH, reference=plain, **tolerance)
    compare(model, batch_of((33, (20,), 4)), reference=plain, **tolerance)
    assert not torch._dynamo.utils.counters["graph_break"]
    checkpoint_layers(model)
    compare(model, BATCH, reference=plain, **tolerance)


@pytest.mark.filterwarnings("default")
def test_a_machine_without_a_compiler_goes_on(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    model = build("qwen2")
    plain = copy.deepcopy(model)
    fuse(model)
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        compare(model, BATCH, reference=plain)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
def test_layers_of_a_layout_nobody_knows_stay_as_they_are(kind):
    model = build(kind)
    fuse(model)
    assert not is_fused(model)
    compare(model, BATCH)


GEMMA = {"head_dim": 8, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
ROTATING = {
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "llama": {},
    "cohere": {},
    "mistral": {"head_dim": 16},
    "gemma2": GEMMA,
    "phi3": {"partial_rotary_factor": 0.5},
    "glm": {"head_dim": 8, "partial_rotary_factor": 0.5},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "rope_interleave": False,
    },
}


@pytest.mark.parametrize("kind", ROTATING)
def test_queries_and_keys_are_turned_alike_one_position_at_a_time(kind, monkeypatch):
    """With what the architecture's own layers give."""
    monkeypatch.setitem(ARCHITECTURES, kind, ROTATING[kind])
    model, given = build(kind), []
    file = sys.modules[type(model.base_model.layers[0].self_attn).__module__]
    plain = file.apply_rotary_pos_emb
    monkeypatch.setattr(file, "apply_rotary_pos_emb", lambda *arguments: given.append(arguments) or plain(*arguments))
    model(inputs_embeds=torch.randn(2, 11, 32))
    assert len(given) == len(model.base_model.layers)
    for arguments in given:
        for one, other in zip(rotate_flat(plain, *arguments), plain(*arguments), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_where_tensors_are_turned_one_by_one_the_function_stays(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    more = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 97, "num_kv_shared_layers": 0, "laurel_rank": 4}
    monkeypatch.setitem(ARCHITECTURES, "gemma3n_text", GEMMA | more | {"activation_sparsity_pattern": [0.5, 0.0, 0.0]})
    model = build("gemma3n_text")
    plain = copy.deepcopy(model)
    fuse(model)
    embeds = torch.randn(2, 11, 32)
    torch.testing.assert_close(model(inputs_embeds=embeds).logits, plain(inputs_embeds=embeds).logits)
