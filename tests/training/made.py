"""Examples and adapters on the tiny backbone, made up."""

from __future__ import annotations

import numpy as np
import torch

from depcli.adapters.dep import DepAdapter, DepShape
from depcli.backbones.sequence import encode
from depcli.records import Prompt, Slot, Text
from depcli.training.examples import Example

D = 12


def make_examples(tokenizer, count: int = 5) -> list[Example]:
    rng = np.random.default_rng(0)
    examples = []
    for i in range(count):
        slots = []
        for _ in range(1 + i % 3):
            slots += [Slot("his_start"), Slot("his", rng.normal(size=D).astype(np.float32)), Slot("his_end")]
            if i % 2:
                slots += [Slot("diff_start"), Slot("diff", rng.normal(size=D).astype(np.float32)), Slot("diff_end")]
        prompt = Prompt((Text("A quiet film " * (i + 1)), *slots, Text("and the songs!")))
        answer = "Three stars. " * (1 + 2 * i)
        examples.append(Example(encode(prompt.parts, tokenizer, answer), tuple(slots), prompt, answer))
    return examples


def new_adapter(seed: int = 0) -> DepAdapter:
    torch.manual_seed(seed)
    return DepAdapter(DepShape(D, 6, 64, 2.0))
