"""Cross-entropy over a large vocabulary, a few targets at a time: logits never exist for all targets at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHUNK_LOGITS = 1 << 25  # values of one chunk of logits: 128 MiB in float32


def cross_entropy(head, hidden: torch.Tensor, wanted: torch.Tensor, chunk_logits: int = CHUNK_LOGITS) -> torch.Tensor:
    """(n,) float32 losses of `head(hidden)`, `head.vocabulary` logits each, against `wanted` (n,) int64; `hidden` (n, H).

    A loss depends on its own row of `hidden` alone, so that row's gradient is worked out while the logits of its chunk are
    there, and only scaled in the backward pass. The head is frozen: no gradient for it.
    """
    rows = max(1, chunk_logits // head.vocabulary)
    if torch.is_grad_enabled() and hidden.requires_grad:
        return _Chunked.apply(hidden, head, wanted, rows)
    parts = zip(hidden.split(rows), wanted.split(rows), strict=True)
    return torch.cat([_losses(head, part, targets) for part, targets in parts])


def _losses(head, hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(head(hidden).float(), wanted, reduction="none")


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, head, wanted, rows):
        losses, gradients = [], torch.empty_like(hidden)
        for start in range(0, len(hidden), rows):
            chosen = slice(start, start + rows)
            with torch.enable_grad():
                part = hidden[chosen].detach().requires_grad_()
                found = _losses(head, part, wanted[chosen])
                gradients[chosen] = torch.autograd.grad(found.sum(), part)[0]
            losses.append(found.detach())
        ctx.save_for_backward(gradients)
        return torch.cat(losses)

    @staticmethod
    def backward(ctx, gradient):
        (gradients,) = ctx.saved_tensors
        return (gradients * gradient.unsqueeze(1)).to(gradients.dtype), None, None, None
