"""From prompt parts to what a Hugging Face causal LM reads: token ids with places for soft tokens, then embeddings.

The one place where a sequence is laid out, for training, scoring and the `transformers` engine alike. Shapes: B sequences,
T positions, H hidden size, S soft tokens in the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depcli.errors import Incompatible
from depcli.records import Slot, Text, Vectors

if TYPE_CHECKING:
    import torch


# A GPU's attention kernels are looked for anew for every shape: with lengths in such steps most passes find one that was found.
GPU_GRAIN = 128


@dataclass(frozen=True, eq=False)
class Encoded:
    """One sequence: `ids` (T,) int32 with a placeholder where a soft token goes, `soft` (S,) int32 positions of those, and
    `targets`, the number of ids at the end that are to be learned or scored (0 for a prompt alone)."""

    ids: np.ndarray
    soft: np.ndarray
    targets: int = 0


def encode(
    parts: Sequence[Text | Slot | Vectors], tokenizer, answer: str | None = None, max_answer_tokens: int = 2048
) -> Encoded:
    """Tokenize parts piece by piece (control tokens are read in prompt text), each Slot or Vectors row one position.

    `answer` is the review to learn or score: it is data, so control tokens in it are not read, and the end-of-turn
    token follows it unless it is longer than `max_answer_tokens`.
    """
    ids: list[int] = []
    soft: list[int] = []
    for part in parts:
        if isinstance(part, Text):
            ids += tokenizer(part.text, add_special_tokens=False)["input_ids"]
        else:
            n = len(part.rows) if isinstance(part, Vectors) else 1
            soft += range(len(ids), len(ids) + n)
            ids += [tokenizer.pad_token_id or 0] * n
    targets = 0
    if answer is not None:
        tail = tokenizer(answer, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        tail = (tail + [tokenizer.eos_token_id])[:max_answer_tokens]
        ids, targets = ids + tail, len(tail)
    return Encoded(np.array(ids, np.int32), np.array(soft, np.int32), targets)


def grain_of(model) -> int:
    """What the lengths of a model's passes are multiples of."""
    return GPU_GRAIN if model.device.type == "cuda" else 1


def in_steps(length: int, grain: int) -> int:
    """`length` or the next multiple of `grain` above it."""
    return -(-length // grain) * grain


def embed(model, batch: Sequence[Encoded], rows: torch.Tensor | None, grain: int = 1) -> torch.Tensor:
    """Right-padded input embeddings (B, T, H), T a multiple of `grain` or all that the model holds. `rows` (S, H) are the soft
    tokens in reading order.

    Gradients flow to `rows` and not to the embedding table. Causal attention makes a padding mask needless.
    """
    import torch

    table = model.get_input_embeddings()
    longest = max(len(entry.ids) for entry in batch)
    full = in_steps(longest, grain)
    width = min(full, max(longest, model.config.max_position_embeddings))
    ids = np.zeros((len(batch), width), np.int64)
    for b, entry in enumerate(batch):
        ids[b, : len(entry.ids)] = entry.ids
    if (largest := int(ids.max(initial=0))) >= table.weight.shape[0]:
        message = f"the tokenizer has the token {largest:,}, the model's table only {table.weight.shape[0]:,}"
        raise Incompatible(message, "tokenizer and weights are of different models: fetch or save them together")
    with torch.no_grad():
        embeds = table(torch.from_numpy(ids).to(table.weight.device))
    if rows is None or not len(rows):
        return embeds
    at = (
        torch.from_numpy(np.concatenate([np.full(len(entry.soft), b) for b, entry in enumerate(batch)])).long(),
        torch.from_numpy(np.concatenate([entry.soft for entry in batch])).long(),
    )
    return embeds.index_put(tuple(index.to(embeds.device) for index in at), rows.to(embeds.dtype))


def target_losses(model, batch: Sequence[Encoded], rows: torch.Tensor | None) -> torch.Tensor:
    """Cross-entropy of every target token, float32, flat in reading order (sum of `targets` of the batch,).

    What no loss and no gradient depends on is left out (see passes.py); the head of the model runs at target positions only,
    a chunk at a time: no (B, T, vocabulary) tensor exists, nor one of (targets, vocabulary).
    """
    import torch

    from depcli.backbones.cross_entropy import cross_entropy
    from depcli.backbones.head import Head
    from depcli.backbones.passes import hidden_at

    grain = grain_of(model)
    embeds = embed(model, batch, rows, grain)
    b = np.concatenate([np.full(entry.targets, i) for i, entry in enumerate(batch)])
    t = np.concatenate([np.arange(len(entry.ids) - entry.targets, len(entry.ids)) for entry in batch])
    wanted = np.concatenate([entry.ids[len(entry.ids) - entry.targets :] for entry in batch]).astype(np.int64)
    b, t, wanted = (torch.from_numpy(numbers).to(embeds.device) for numbers in (b, t - 1, wanted))
    # a row without targets counts not: it has no gradient
    fixed = min((int(entry.soft[0]) if len(entry.soft) else len(entry.ids) - 1 - entry.targets for entry in batch), default=0)
    fixed -= fixed % grain
    return cross_entropy(Head(model), hidden_at(model, embeds, (b, t), fixed), wanted)


def micro_batches(lengths: Sequence[int], max_tokens: int, grain: int = 1) -> list[list[int]]:
    """Positions of a batch in passes of at most `max_tokens` tokens, padded to a multiple of `grain` (a longer sequence goes
    alone)."""
    passes: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if passes and in_steps(lengths[i], grain) * (len(passes[-1]) + 1) <= max_tokens:
            passes[-1].append(i)
        else:
            passes.append([i])
    return passes
