"""A random Qwen2 model with our own kind of tokenizer, as a model folder with safetensors and GGUF. Builds in a second."""

from __future__ import annotations

import json
from pathlib import Path

TEXT = """A quiet film that grows on you, scene by scene, until it doesn't let go. I'd see it again.
The plot is thin; the actors are not. Three stars out of five - and the songs!
Not my thing: too long, too loud, too clever by half. We've seen this before, and they'll make it again.
Über den Film läßt sich streiten. Un très bon disque, très doux. 映画はとても良かった。 12 songs, 1999, 4/5.
"""
HIDDEN = 64


def build_tiny_backbone(
    folder: Path, *, seed: int = 0, hidden: int = HIDDEN, vocabulary: int = 338, padded: int = 352, heads: int = 4
) -> Path:
    """Write the model into `folder` and return it. Weights are float32, ids from len(tokenizer) to `padded` mean nothing.

    Context 2,048 positions; end-of-generation tokens are <|im_end|> and <|endoftext|>.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from depcli.backbones.gguf import write_gguf
    from depcli.recipes.tokenizer import train

    tokenizer = train(TEXT.splitlines() * 20, vocabulary)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    config = Qwen2Config(
        vocab_size=padded,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        intermediate_size=2 * hidden,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    # Own generator state: building a model must not disturb the seeds of the test that asks for it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:  # biases start at zero and norms at one, which would hide mistakes
                    parameter.add_(0.1 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = ends
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_gguf(model, tokenizer, folder / "tiny.gguf")
    return folder


def ask_as_small(folder: Path) -> Path:
    """Let this model folder ask for the layout of small backbones."""
    config = json.loads((folder / "config.json").read_text())
    config["dep"] = {"template": "compact", "max_input_tokens": 1400}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
