"""Texts to an encoder in batches of similar length, results in the order of the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

CPU_TOKENS, GPU_TOKENS = 1024, 65536  # positions of a batch, padding included: wide batches of few texts are mostly padding


def encode_by_length(
    texts: Sequence[str], tokenizer, encode: Callable[[torch.Tensor, torch.Tensor | None], np.ndarray], dimension: int, *,
    max_tokens: int, batch_tokens: int = CPU_TOKENS,
) -> np.ndarray:  # fmt: skip
    """(n, dimension) float32 from `encode(ids (B, T) int64, mask (B, T) int64 or None)`: None where nothing is padded.

    All texts are tokenized at once, cut at `max_tokens`, sorted by their number of tokens, and batched to at most
    `batch_tokens` padded positions: next to no padding, whatever the lengths.
    """
    vectors = np.empty((len(texts), dimension), np.float32)
    if not len(texts):
        return vectors
    rows = tokenizer(list(texts), truncation=True, max_length=max_tokens, return_attention_mask=False)["input_ids"]
    for batch in batches_of([len(row) for row in rows], batch_tokens):
        vectors[batch] = encode(*padded([rows[i] for i in batch], tokenizer.pad_token_id))
    if not np.isfinite(vectors).all():
        raise FloatingPointError("the embedder returned a vector that is not finite")
    return vectors


def batches_of(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Positions, the longest first, in batches of at most `batch_tokens` padded tokens (a longer one goes alone)."""
    order, batches = sorted(range(len(lengths)), key=lambda i: -lengths[i]), []
    while order:
        count = max(1, batch_tokens // max(1, lengths[order[0]]))
        batches.append(order[:count])
        order = order[count:]
    return batches


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(ids (B, T), mask (B, T) or None when all are of one length), padded to the right; the first row is the longest."""
    import torch

    width = len(rows[0])
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, None if (lengths == width).all() else (torch.arange(width) < lengths[:, None]).long()
