"""Texts to an encoder in batches of similar length, results in the order of the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

CPU_TOKENS, GPU_TOKENS = 1024, 65536  # positions of a batch, padding included
_BATCH = 0.05  # what a batch costs beside its positions, as a part of the most that it may have


def encode_by_length(
    texts: Sequence[str],
    tokenizer,
    encode: Callable[[torch.Tensor, torch.Tensor | None], np.ndarray],
    dimension: int,
    *,
    max_tokens: int,
    batch_tokens: int = CPU_TOKENS,
) -> np.ndarray:
    """(n, dimension) float32 from `encode(ids (B, T) int64, mask (B, T) int64 or None)`: None where nothing is padded.

    All texts are tokenized at once, cut at `max_tokens`, and batched by their number of tokens to at most `batch_tokens` padded
    positions: next to no padding, whatever the lengths.
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
    """Positions, the longest first, in batches of at most `batch_tokens` padded tokens (a longer one goes alone): of all ways to
    divide them the one that costs least."""
    widths = np.maximum(np.asarray(lengths, np.int64), 1)
    order = np.argsort(-widths, kind="stable")
    count = len(order)
    least = np.full(count + 1, np.inf)  # cost of the first so many
    least[0] = 0
    begins = np.zeros(count + 1, np.int64)  # where the last batch of the first so many begins
    steps = np.arange(1, count + 1)
    for begin, width in enumerate(widths[order]):
        end = min(begin + max(1, batch_tokens // width), count)
        costs = least[begin] + batch_tokens * _BATCH + width * steps[: end - begin]
        after = slice(begin + 1, end + 1)
        better = costs < least[after]
        least[after][better] = costs[better]
        begins[after][better] = begin
    batches, end = [], count
    while end:
        batches.append(order[begins[end] : end].tolist())
        end = int(begins[end])
    return batches[::-1]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(ids (B, T), mask (B, T) or None when all are of one length), padded to the right; the first row is the longest."""
    import torch

    width = len(rows[0])
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, None if (lengths == width).all() else (torch.arange(width) < lengths[:, None]).long()
