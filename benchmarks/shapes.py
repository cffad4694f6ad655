"""Backbones of a known shape with random weights, and training samples of the paper's lengths: for speed, not for quality."""

from __future__ import annotations

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from depcli.adapters.dep import DepShape
from depcli.backbones.sequence import Encoded
from depcli.records import Prompt, Slot
from depcli.training.examples import Example

REVIEWS, EMBEDDING = 8, 1024  # per prompt; numbers of a bge-m3 vector
BEGINNING, LONGEST_INPUT, LONGEST_TARGET = 320, 3072, 2048  # tokens: system text and item; the whole prompt; the review
NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")
SHAPES = {
    "tiny": (64, 128, 3, 4, 2, 500),
    "qwen2.5-0.5b": (896, 4864, 24, 14, 2, 151936),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, 151936),
    "qwen2.5-7b": (3584, 18944, 28, 28, 4, 152064),
}
_GROUP = ("his_start", "his", "his_end", "diff_start", "diff", "diff_end")


def random_backbone(shape: str, device: torch.device):
    """A frozen Qwen2 model made on the device, bfloat16 on a GPU."""
    config = Qwen2Config(**dict(zip(NAMES, SHAPES[shape], strict=True)), max_position_embeddings=32768)
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return model.eval().requires_grad_(False)


def dep_shape(model) -> DepShape:
    return DepShape(EMBEDDING, EMBEDDING // 2, model.config.hidden_size, 1.0)


def paper_samples(count: int, vocabulary: int, scale: float = 1.0, seed: int = 0) -> list[Example]:
    """Samples of about 3,400 tokens times `scale`: prompts of 2,700 to 3,072 with eight reviews, each followed by its six soft
    tokens, and reviews of 450 tokens in the mean, 2,048 at most."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        prompt = int(rng.integers(2700, LONGEST_INPUT + 1) * scale)
        targets = int(np.clip(rng.lognormal(5.8, 0.75), 20, LONGEST_TARGET) * scale) + 1
        ends = np.linspace(BEGINNING * scale, prompt, REVIEWS + 1)[1:].astype(int)
        soft = np.concatenate([np.arange(end - len(_GROUP), end) for end in ends]).astype(np.int32)
        slots = tuple(
            Slot(kind, rng.normal(size=EMBEDDING).astype(np.float32) / EMBEDDING**0.5 if kind in ("his", "diff") else None)
            for _ in range(REVIEWS)
            for kind in _GROUP
        )
        ids = rng.integers(0, vocabulary, prompt + targets).astype(np.int32)
        samples.append(Example(Encoded(ids, soft, targets), slots, Prompt(()), ""))
    return samples
