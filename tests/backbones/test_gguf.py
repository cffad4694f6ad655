from __future__ import annotations

import shutil

import gguf
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from depcli.backbones import find, load_model, load_tokenizer
from depcli.backbones.gguf import main as gguf_command
from depcli.backbones.gguf import write_gguf
from depcli.engines import load
from depcli.errors import BadInput, Incompatible, NotFound
from depcli.records import Sampling, SoftPrompt, Text


@pytest.fixture
def model(tiny_backbone):
    return load_model(find(str(tiny_backbone)))


@pytest.fixture(scope="module")
def tokenizer(tiny_backbone):
    return load_tokenizer(find(str(tiny_backbone)))


def test_half_precision_stores_the_rounded_matrices_and_whole_vectors(model, tokenizer, tmp_path):
    write_gguf(model, tokenizer, tmp_path / "m.gguf", "f16")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    weights = model.state_dict()
    down = weights["model.layers.1.mlp.down_proj.weight"].numpy()
    assert np.array_equal(tensors["blk.1.ffn_down.weight"].data, down.astype(np.float16))
    assert np.array_equal(tensors["blk.0.attn_q.bias"].data, weights["model.layers.0.self_attn.q_proj.bias"].numpy())
    assert len(tensors) == len(weights) - 1 and "output.weight" not in tensors  # tied


def test_values_exact_in_bfloat16_survive_half_precision(model, tokenizer, tmp_path):
    model.to(torch.bfloat16)
    write_gguf(model, tokenizer, tmp_path / "m.gguf", "f16")
    (up,) = [tensor.data for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors if tensor.name == "blk.0.ffn_up.weight"]
    assert np.abs(up.astype(np.float32) - model.state_dict()["model.layers.0.mlp.up_proj.weight"].float().numpy()).max() < 2**-24


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}, "positions are scaled"),
        ({"hidden_act": "gelu"}, "activation is gelu"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "slides"),
        ({"head_dim": 32}, "heads are 32 wide"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(model, tokenizer, tmp_path, change, said):
    for name, value in change.items():
        setattr(model.config, name, value)
    with pytest.raises(Incompatible, match=said) as error:
        write_gguf(model, tokenizer, tmp_path / "m.gguf")
    assert "convert_hf_to_gguf.py" in error.value.hint and not list(tmp_path.iterdir())


def test_an_untied_head_is_written(tokenizer, tmp_path, model):
    from transformers import Qwen2ForCausalLM

    model.config.tie_word_embeddings = False
    torch.manual_seed(5)
    untied = Qwen2ForCausalLM(model.config).eval()
    untied.generation_config.eos_token_id = [2, 0]
    folder = tmp_path / "untied"
    untied.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_gguf(untied, tokenizer, folder / "untied.gguf")
    request = (SoftPrompt((Text("the plot"),), 64), Sampling(temperature=0, max_new_tokens=30))
    texts = []
    for name in ("transformers", "llamacpp"):
        with load(name, find(str(folder)), exact=True) as engine:
            texts.append(next(engine.generate([request])).tokens)
    assert texts[0] == texts[1]


def test_what_half_precision_cannot_hold_is_refused_and_leaves_no_file(model, tokenizer, tmp_path):
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 1e6
    with pytest.raises(BadInput, match="f16 cannot hold"):
        write_gguf(model, tokenizer, tmp_path / "m.gguf", "f16")
    assert list(tmp_path.iterdir()) == []


def test_the_command_makes_a_folder_usable_by_llamacpp(tiny_backbone, tmp_path):
    folder = shutil.copytree(tiny_backbone, tmp_path / "model", ignore=shutil.ignore_patterns("*.gguf"))
    with pytest.raises(NotFound, match="no GGUF"):
        load("llamacpp", find(str(folder)))
    ran = CliRunner().invoke(gguf_command, [str(folder), str(folder / "model.gguf"), "--dtype", "f32"], catch_exceptions=False)
    assert ran.exit_code == 0 and "0.4 MB" in ran.output
    with load("llamacpp", find(str(folder))) as engine:
        assert engine.width == 64
    (folder / "model.safetensors").unlink()
    failed = CliRunner().invoke(gguf_command, [str(folder), str(tmp_path / "other.gguf")], catch_exceptions=False)
    assert failed.exit_code == 1 and "lacks model.safetensors" in failed.output


def test_other_tokenizers_and_architectures_are_refused(model, tokenizer, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel()
    other = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    with pytest.raises(Incompatible, match="split text"):
        write_gguf(model, other, tmp_path / "m.gguf")
    model.config = LlamaConfig()
    with pytest.raises(Incompatible, match="llama"):
        write_gguf(model, tokenizer, tmp_path / "m.gguf")
