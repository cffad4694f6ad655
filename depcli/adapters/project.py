"""From a Prompt to a SoftPrompt: slots become soft tokens, text stays."""

from __future__ import annotations

import numpy as np

from depcli.records import Prompt, Slot, SoftPrompt, Text, Vectors


def project(adapter, prompt: Prompt) -> SoftPrompt:
    """Fill the slots of a prompt with the adapter's soft tokens, float32. Neighbouring slots become one
    Vectors block. A prompt without slots (a user without history) passes as it is."""
    slots = [part for part in prompt.parts if isinstance(part, Slot)]
    if not slots:
        return SoftPrompt(prompt.parts)
    rows = adapter.rows(slots)
    parts: list[Text | Vectors] = []
    block: list[np.ndarray] = []
    remaining = iter(rows)
    for part in (*prompt.parts, None):
        if isinstance(part, Slot):
            block.append(next(remaining))
            continue
        if block:
            parts.append(Vectors(np.stack(block)))
            block = []
        if part is not None:
            parts.append(part)
    return SoftPrompt(tuple(parts), rows.shape[1])
