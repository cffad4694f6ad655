"""What lies between the products of a layer made into a few kernels instead of many, for GPUs: there the norms, the gate of the
feed-forward part and the scales of 8-bit products wait for memory, and the matrix units wait for them.

PyTorch's compiler makes the kernels at the first pass, once for all layers and all lengths. Attention, which has a kernel of its
own, stays as it is, but for the turning of queries and keys before it. The numbers are the same within rounding: a value that no
longer lies in memory is not rounded on the way.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps

import torch
from torch import nn

from depcli.backbones.fp8 import Fp8Linear
from depcli.backbones.passes import layers_of

_ROTATED = ("q", "k", "cos", "sin")
_KERNELS = 64  # of one part: linear layers of several sizes, each with and without gradients, need more than the usual eight


def fuse(model) -> None:
    """Compile these parts of every layer, in place. A part whose layout is not known, and everything where there is no compiler,
    stays as it was."""
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _KERNELS)
    compiled: dict[type, Callable] = {}
    for layer in layers_of(model):
        for part in _parts(layer):
            kind = type(part)
            if kind not in compiled:
                compiled[kind] = torch.compile(kind.forward, dynamic=True)
            part.forward = partial(_position_by_position, compiled[kind], part)
        _fuse_rotation(getattr(layer, "self_attn", None))
    model.fused = bool(compiled)


def is_fused(model) -> bool:
    return getattr(model, "fused", False)


def _fuse_rotation(attention: nn.Module | None) -> None:
    """Layers find the function that turns queries and keys by its name in their file: there the compiled one takes its place, for
    tensors on a GPU. In some files that name takes other arguments (one tensor at a time in Gemma 3n): these stay as they are."""
    file = sys.modules[type(attention).__module__]
    plain = getattr(file, "apply_rotary_pos_emb", None)
    if plain is None or hasattr(plain, "__wrapped__") or tuple(inspect.signature(plain).parameters)[:4] != _ROTATED:
        return
    compiled = torch.compile(plain)

    @wraps(plain)
    def rotate(*given, **named):
        if len(given) == 4 and not named and given[0].is_cuda:
            return rotate_flat(compiled, *given)
        return plain(*given, **named)

    file.apply_rotary_pos_emb = rotate


def rotate_flat(rotate: Callable, query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor):
    """`rotate` of queries and keys (B, heads, T, width) by angles (B or 1, T, width), position by position, so that the number of
    sequences makes no other kernel."""
    sequences = len(query)
    flat = [heads.transpose(1, 2).flatten(0, 1) for heads in (query, key)]
    flat += [angle.expand(sequences, -1, -1).flatten(0, 1) for angle in (cos, sin)]
    for tensor in flat:
        torch._dynamo.maybe_mark_dynamic(tensor, 0)
    return tuple(heads.unflatten(0, (sequences, -1)).transpose(1, 2) for heads in rotate(*flat))


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
