"""Write a GGUF of a Qwen2-architecture model: python -m depcli.backbones.gguf MODEL_FOLDER OUT.gguf [--dtype f16]

For the models whose GGUF nobody publishes: `mini`, fine-tuned Qwen2 models, the random ones of the tests. Whatever has a
tokenizer other than Qwen2's kind of byte-level BPE is refused; llama.cpp's own converter handles those.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from depcli.errors import BadInput, DepError, Incompatible

DTYPES = ("f32", "f16")
QWEN2_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ELSE = "use convert_hf_to_gguf.py of llama.cpp and give the result with the model folder"


def write_gguf(model, tokenizer, path: str | os.PathLike, dtype: str = "f32") -> None:
    """Write `model` (a Qwen2ForCausalLM) and `tokenizer` as one GGUF file, complete or not at all.

    Matrices are stored as `dtype` ('f32' or 'f16'), vectors always as f32. The file carries chat template, control tokens and
    end-of-turn token, so nothing else is needed to run it. Raises Incompatible for another architecture or tokenizer,
    BadInput when a weight has no finite value in `dtype`.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, not one of {DTYPES}")
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _write(model, tokenizer, partial, dtype, name=path.stem)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write(model, tokenizer, path: Path, dtype: str, name: str) -> None:
    import gguf

    config = model.config
    if config.model_type != "qwen2":
        raise Incompatible(f"only Qwen2 models can be written as GGUF here, not {config.model_type}", _ELSE)
    if other := _unlike_llamacpps(config):
        raise Incompatible(f"the Qwen2 model cannot be written as GGUF here: its {other}", _ELSE)
    tokens, types, merges = _vocabulary(tokenizer, config.vocab_size)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if dtype == "f32" else gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue  # llama.cpp takes the embedding table then
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), _array(key, tensor, dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _unlike_llamacpps(config) -> str | None:
    """What of this model llama.cpp would compute otherwise, knowing only what is written here; None for nothing."""
    if (rotation := config.rope_parameters.get("rope_type", "default")) != "default":
        return f"positions are scaled ({rotation})"
    if set(config.layer_types or ()) - {"full_attention"}:
        return "attention slides over a window"
    if config.hidden_act != "silu":
        return f"activation is {config.hidden_act}"
    usual = config.hidden_size // config.num_attention_heads
    if (width := getattr(config, "head_dim", None) or usual) != usual:
        return f"heads are {width} wide"
    return None


def _array(key: str, tensor, dtype: str):
    import torch

    stored = tensor.detach().cpu().to(torch.float16 if dtype == "f16" and tensor.ndim == 2 else torch.float32)
    if not torch.isfinite(stored).all():
        raise BadInput(f"{key} holds values that {dtype} cannot hold", "use --dtype f32, or look at the weights")
    return stored.numpy()


def _vocabulary(tokenizer, size: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens and their GGUF types for `size` ids, padding included, and the merges."""
    from gguf import TokenType

    core = json.loads(tokenizer.backend_tokenizer.to_str())
    if core["model"]["type"] != "BPE" or QWEN2_SPLIT not in _patterns(core["pre_tokenizer"]):
        raise Incompatible("the tokenizer does not split text the way Qwen2 does", _ELSE)
    tokens, types = [f"[PAD{i}]" for i in range(size)], [TokenType.UNUSED] * size
    for token, i in core["model"]["vocab"].items():
        tokens[i], types[i] = token, TokenType.NORMAL
    for added in core["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in core["model"]["merges"]]
    return tokens, types, merges


def _patterns(node: dict | None) -> list[str]:
    if not node:
        return []
    if node["type"] == "Sequence":
        return [pattern for child in node["pretokenizers"] for pattern in _patterns(child)]
    return [node["pattern"].get("Regex", "")] if node["type"] == "Split" else []


@click.command()
@click.argument("model_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dtype", type=click.Choice(DTYPES), default="f16", show_default=True)
def main(model_folder: Path, out: Path, dtype: str):
    """Write the Hugging Face model in MODEL_FOLDER as OUT.gguf."""
    from depcli.backbones import find, load_model, load_tokenizer

    try:
        backbone = find(str(model_folder))
        write_gguf(load_model(backbone, device="cpu"), load_tokenizer(backbone), out, dtype)
    except DepError as error:
        raise click.ClickException(f"{error}\n{error.hint}".strip()) from error
    click.echo(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
