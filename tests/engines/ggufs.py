"""A small GGUF told again: as another architecture, in parts, with the embedding table in another type."""

from __future__ import annotations

from pathlib import Path

import gguf
import llama_cpp
import numpy as np

_FORGOTTEN = "GGUF.", "general.architecture"  # what the writer says by itself
_GONE = {"qwen3moe": ("ffn_gate", "ffn_up", "ffn_down"), "phi3": ("attn_q", "attn_k", "attn_v", "ffn_gate")}


def told_as(architecture: str, source: Path, target: Path, **parts) -> Path:
    """Write the Qwen2 model in `source` as a random model of another architecture; `parts` go to the writer."""
    read = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, architecture, **parts)
    for field in read.fields.values():
        if not field.name.startswith(_FORGOTTEN):
            name = field.name.replace("qwen2.", f"{architecture}.")
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for key, value in _more_keys(architecture, {tensor.name: tensor.data.shape for tensor in read.tensors}).items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_float32)(f"{architecture}.{key}", value)
    for name, data in _tensors(architecture, {tensor.name: tensor.data for tensor in read.tensors}).items():
        writer.add_tensor(name, np.ascontiguousarray(data, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _more_keys(architecture: str, shapes: dict[str, tuple]) -> dict[str, int | float]:
    if architecture == "qwen3moe":
        return {"expert_count": 2, "expert_used_count": 1, "expert_feed_forward_length": shapes["blk.0.ffn_up.weight"][0]}
    if architecture == "phi3":
        return {"rope.dimension_count": 16, "rope.scaling.original_context_length": 2048}
    return {"attention.sliding_window": 1024} if architecture in ("gemma2", "gemma3") else {}


def _tensors(architecture: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a Qwen2 model by the names and shapes of another architecture."""
    random = np.random.default_rng(0)
    if architecture != "qwen2":
        tensors = {name: data for name, data in tensors.items() if not name.endswith(".bias")}
    for layer in {name.rsplit(".", 2)[0] for name in tensors if name.startswith("blk.")}:
        queries, keys, values = (tensors[f"{layer}.attn_{x}.weight"] for x in "qkv")
        ways = {way: tensors[f"{layer}.ffn_{way}.weight"] for way in ("gate", "up", "down")}
        if architecture in ("qwen3", "qwen3moe", "gemma3"):
            tensors |= {f"{layer}.attn_{x}_norm.weight": 1 + 0.1 * random.standard_normal(16) for x in "qk"}
        if architecture in ("gemma2", "gemma3"):
            tensors |= {f"{layer}.post_{x}_norm.weight": tensors[f"{layer}.ffn_norm.weight"] for x in ("attention", "ffw")}
        if architecture == "qwen3moe":
            tensors |= {f"{layer}.ffn_{way}_exps.weight": np.stack([data, -data]) for way, data in ways.items()}
            tensors[f"{layer}.ffn_gate_inp.weight"] = random.standard_normal((2, len(queries)))
        if architecture == "phi3":
            tensors[f"{layer}.attn_qkv.weight"] = np.concatenate([queries, keys, values])
            tensors[f"{layer}.ffn_up.weight"] = np.concatenate([ways["gate"], ways["up"]])
        for gone in _GONE.get(architecture, ()):
            del tensors[f"{layer}.{gone}.weight"]
    return tensors


def quantized(ftype: int, source: Path, target: Path) -> Path:
    """Write the model in `source` in another type of file, one of llama_cpp's LLAMA_FTYPE_*."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = ftype
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params) == 0
    return target


def with_table(dtype: str, source: Path, target: Path) -> Path:
    """Write the model in `source` with its embedding table in another type of ggml."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_F16
    params.token_embedding_type = gguf.GGMLQuantizationType[dtype]
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params) == 0
    return target
