"""What lies between the products of a layer made into a few kernels instead of many, for GPUs: there the norms, the gate of the
feed-forward part and the scales of 8-bit products wait for memory, and a matrix unit waits for them.

PyTorch's compiler makes the kernels at the first pass, once for all layers and all shapes. Attention, which has a kernel of its own,
stays as it is, but for the turning of queries and keys before it. The numbers are the same within rounding (a value that no longer
lies in memory is not rounded on the way).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps

import torch
from torch import nn

from depcli.backbones.fp8 import Fp8Linear
from depcli.backbones.passes import layers_of


def fuse(model) -> None:
    """Compile these parts of every layer, in place. A part whose layout is not known, and everything where there is no compiler,
    stays as it was."""
    torch._dynamo.config.suppress_errors = True
    compiled: dict[type, Callable] = {}
    for layer in layers_of(model):
        for part in _parts(layer):
            kind = type(part)
            if kind not in compiled:
                compiled[kind] = torch.compile(kind.forward, dynamic=True)
            part.forward = partial(_position_by_position, compiled[kind], part)
        _fuse_rotation(getattr(layer, "self_attn", None))


def _fuse_rotation(attention: nn.Module | None) -> None:
    """Layers find the function that turns queries and keys by its name in their file: there the compiled one takes its place, for
    tensors on a GPU."""
    file = sys.modules[type(attention).__module__]
    plain = getattr(file, "apply_rotary_pos_emb", None)
    if plain is None or hasattr(plain, "fused"):
        return
    compiled = torch.compile(plain, dynamic=True)

    @wraps(plain)
    def rotate(query: torch.Tensor, *more, **named):
        return (compiled if query.is_cuda else plain)(query, *more, **named)

    rotate.fused = True
    file.apply_rotary_pos_emb = rotate


def _position_by_position(forward: Callable, part: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """As (positions, width), so that the number of sequences makes no other kernel."""
    return forward(part, x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def _parts(layer: nn.Module | None) -> Iterator[nn.Module]:
    if layer is None:
        return
    mlp = getattr(layer, "mlp", None)
    if hasattr(mlp, "down_proj"):  # not of experts, which look at whole sequences
        yield mlp
    for name, part in layer.named_modules():
        inside_mlp = name.split(".")[0] == "mlp"
        if not inside_mlp and (isinstance(part, Fp8Linear) or "." not in name and type(part).__name__.endswith("RMSNorm")):
            yield part
