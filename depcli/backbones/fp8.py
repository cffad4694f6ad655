"""Linear layers of a frozen backbone in 8-bit floating point: on GPUs with such units, twice the rate of bfloat16.

A weight has one scale per output row, an input one per position, so a product is (x8 @ w8.T) * scales, and its gradient to the
input is made the same way from the gradient to the output. Weights get no gradient.
"""

from __future__ import annotations

import torch
from torch import nn

E4M3 = torch.float8_e4m3fn
_LARGEST = torch.finfo(E4M3).max
_MULTIPLE = 16  # what the units ask of a matrix's sides


def to_fp8(model: nn.Module, head: nn.Module) -> None:
    """Replace every linear layer but the head, in place; those of odd sizes stay as they are."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            fits = isinstance(layer, nn.Linear) and not any(side % _MULTIPLE for side in layer.weight.shape)
            if fits and layer is not head:
                setattr(parent, name, Fp8Linear(layer))


class Fp8Linear(nn.Module):
    """x (..., in) bfloat16 or float32 to (..., out) in the same type. Holds the weight in both layouts: the forward pass reads
    rows, the backward pass columns."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = quantize(linear.weight)
        self.rows = nn.Parameter(weight, requires_grad=False)  # (out, in)
        self.columns = nn.Parameter(weight.t().contiguous(), requires_grad=False)  # (in, out)
        self.scale = nn.Parameter(scale, requires_grad=False)  # (out, 1) float32
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = _multiply(x.reshape(-1, x.shape[-1]), self.rows, self.columns, self.scale).reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


def quantize(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(x8 (n, m) e4m3, scale (n, 1) float32) with x about x8 * scale: the largest of each row becomes the largest there is."""
    x = x.float()
    scale = x.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / _LARGEST
    return (x / scale).to(E4M3), scale


@torch.compiler.allow_in_graph  # so that the compiler sees what both directions compute and joins it with what is beside
def _multiply(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return _Multiply.apply(x, rows, columns, scale)


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, rows, columns, scale):
        ctx.save_for_backward(columns, scale)
        return _product(x, rows.t(), scale.t().contiguous(), x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        columns, scale = ctx.saved_tensors
        ones = torch.ones(1, len(columns), device=gradient.device)  # the scale belongs to the side that is summed over
        return _product(gradient * scale.t(), columns.t(), ones, gradient.dtype), None, None, None


def _product(x: torch.Tensor, w8: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """x (n, k) times w8 (k, m), columns scaled by `scale` (1, m)."""
    x8, own = quantize(x)
    return torch._scaled_mm(x8, w8, scale_a=own, scale_b=scale, out_dtype=torch.bfloat16, use_fast_accum=True).to(dtype)
