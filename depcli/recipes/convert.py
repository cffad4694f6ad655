"""From a pre-training checkpoint to the bundled files: python -m depcli.recipes.convert CHECKPOINT OUT

Writes config.json, model.safetensors (bf16), generation_config.json, tokenizer files and mini.gguf (f16), reads both back, and
prints sizes and the largest rounding error of each as JSON.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from depcli.backbones import foreknown
from depcli.backbones.gguf import write_gguf
from depcli.backbones.load import without_progress_bars
from depcli.errors import BadInput

# How `mini` wants to be asked; depcli.backbones.find reads it from config.json.
ASKED = {"template": "compact", "max_input_tokens": 1536}


def rounding_errors(gguf_path: Path, model) -> tuple[float, float]:
    """The largest |weight in the GGUF - weight of `model`|, absolute, and relative to the largest weight of its tensor."""
    import gguf
    import numpy as np

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, model.config.num_hidden_layers)
    stored = {tensor.name: np.array(tensor.data, np.float32) for tensor in gguf.GGUFReader(gguf_path).tensors}
    worst = relative = 0.0
    for key, weight in model.state_dict().items():
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if name not in stored and key == "lm_head.weight":
            continue  # tied
        weight = weight.float().numpy()
        error = float(np.abs(stored[name].reshape(weight.shape) - weight).max())
        worst, relative = max(worst, error), max(relative, error / max(float(np.abs(weight).max()), 1e-30))
    return worst, relative


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(checkpoint: Path, out: Path):
    """Write the bundle of the model in CHECKPOINT into the folder OUT."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if missing := [name for name in ("config.json", foreknown.FILE) if not (checkpoint / name).is_file()]:
        raise BadInput(f"{checkpoint} holds no {missing[0]}", "give the output folder of pretrain.py")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
    with without_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True)
    trained = {key: weight.clone() for key, weight in model.state_dict().items()}
    model.to(torch.bfloat16)
    lost = max(float((weight - trained[key]).abs().max()) for key, weight in model.state_dict().items())
    model.config.dep = ASKED
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    out.mkdir(parents=True, exist_ok=True)
    with without_progress_bars():
        model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    shutil.copyfile(checkpoint / foreknown.FILE, out / foreknown.FILE)
    (out / "model.safetensors").chmod(0o644)
    # From the bf16 weights, so that both files hold the same model.
    write_gguf(model, tokenizer, out / "mini.gguf", "f16")
    worst, relative = rounding_errors(out / "mini.gguf", model)
    click.echo(
        json.dumps(
            {
                "parameters": sum(p.numel() for p in model.parameters()),
                "bytes": {path.name: path.stat().st_size for path in sorted(out.iterdir())},
                "bf16_error": lost,
                "gguf_error": worst,
                "gguf_error_relative": relative,
            }
        )
    )


if __name__ == "__main__":
    main()
