from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch

from depcli.backbones import chat_of, find, fingerprint, load_model, load_tokenizer, weights_digest
from depcli.backbones.fingerprint import folder_revision
from depcli.errors import BadInput, Incompatible, MissingDependency, NotFound


@pytest.fixture
def copy(tiny_backbone, tmp_path):
    return shutil.copytree(tiny_backbone, tmp_path / "copy")


def test_a_model_comes_frozen_in_float32_on_a_cpu(tiny_backbone):
    model = load_model(find(str(tiny_backbone)), device="cpu")
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == "sdpa"
    half = load_model(find(str(tiny_backbone)), device="cpu", dtype="bfloat16")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(tiny_backbone):
    for device in ("cuda", "cuda:9", "mps", "xpu", "meta", "nonsense"):
        with pytest.raises(MissingDependency, match=device):
            load_model(find(str(tiny_backbone)), device=device)


def test_nobody_is_warned_of_a_long_text(tiny_backbone, caplog):
    tokenizer = load_tokenizer(find(str(tiny_backbone)))
    with caplog.at_level(logging.WARNING):
        assert len(tokenizer("word " * 9000, add_special_tokens=False)["input_ids"]) > 8192
    assert not caplog.records


def test_chat_format(tiny_backbone):
    tokenizer = load_tokenizer(find(str(tiny_backbone)))
    tokenizer.add_tokens(["<added>"])
    chat = chat_of(tokenizer)
    assert chat.specials == ("<added>", "<|endoftext|>", "<|im_end|>", "<|im_start|>")
    assert chat.render("s", "u") == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
    tokenizer.chat_template = None
    with pytest.raises(Incompatible, match="chat template"):
        chat_of(tokenizer)


def test_damaged_weights(copy):
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:-100], b"x" * 200):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="weights"):
            load_model(find(str(copy)))


def test_weights_that_lack_a_tensor_are_refused_and_not_made_up(copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="layers.1.mlp.up_proj"):
        load_model(find(str(copy)))


def test_an_architecture_nobody_knows(copy):
    config = json.loads((copy / "config.json").read_text()) | {"model_type": "no-such-thing"}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(Incompatible, match="no causal language model"):
        load_model(find(str(copy)))


def test_damaged_tokenizer(copy):
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(BadInput, match="tokenizer"):
        load_tokenizer(find(str(copy)))


def test_a_folder_without_weights(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(NotFound, match="lacks model.safetensors"):
        load_model(find(str(copy)))


def test_weights_digest_sees_one_changed_weight(tiny_backbone):
    model = load_model(find(str(tiny_backbone)))
    before = weights_digest(model)
    assert before == weights_digest(load_model(find(str(tiny_backbone))))
    with torch.no_grad():
        weight = model.model.layers[1].mlp.down_proj.weight
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    assert weights_digest(model) != before


def test_fingerprint_of_a_folder_follows_its_content_and_not_its_place(tiny_backbone, copy):
    original, model = find(str(tiny_backbone)), load_model(find(str(tiny_backbone)))
    mark = fingerprint(original, model.config)
    assert mark["hidden_size"] == 64 and mark["name"] == "tiny"
    json.dumps(mark)
    assert folder_revision(copy) == mark["revision"]
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert folder_revision(copy) != mark["revision"]
