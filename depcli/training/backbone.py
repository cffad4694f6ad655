"""The frozen backbone of a training: whole with every worker, or in parts with all of them where a device cannot hold it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from math import prod

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import nn

from depcli import backbones
from depcli.backbones.catalogue import Backbone
from depcli.backbones.load import torch_device
from depcli.backbones.precision import number_type
from depcli.errors import DepError, Incompatible
from depcli.training.hardware import ONLY_WHOLE, Hardware, free_memory, is_out_of_memory, mib
from depcli.training.shards import Shards, local
from depcli.training.workers import Weights, Workers, together

_FOR_WEIGHTS = 0.8  # of what is free; the rest is for passes


def load_backbone(
    backbone: Backbone, hardware: Hardware, workers: Workers, *, offline: bool, on_event: Callable[[dict], None]
) -> tuple[nn.Module, Weights]:
    """(model, its weights: Shards where they are spread over the workers).

    Raises Incompatible for what cannot be spread over workers, DepError where the weights do not fit, WorkerLost, and what
    backbones.load_in raises.
    """
    reason = _why_in_parts(backbone, hardware, workers, offline=offline)
    try:
        if reason is None:
            return backbones.load_in(backbone, hardware.precision, device=hardware.device, offline=offline), Weights()
        model, shards = _load_in_parts(backbone, hardware, workers, offline=offline)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        needed = mib(weights_bytes(backbone, hardware, offline=offline))
        raise DepError(
            f"there is no room for the weights of {backbone.name} ({needed})",
            "--backbone-precision int8 or int4, or more workers to share them: torchrun --nproc-per-node 2 -m depcli train ...",
        ) from error
    size = mib(sum(local(parameter).nbytes for parameter in model.parameters()))
    on_event({"note": f"the backbone is spread over {workers.count} workers, {size} with each: {reason}"})
    return model, shards


def _why_in_parts(backbone: Backbone, hardware: Hardware, workers: Workers, *, offline: bool) -> str | None:
    if hardware.shard and workers.count == 1:
        raise Incompatible(
            "--shard-backbone spreads the backbone over several workers, and this is one alone",
            "torchrun --nproc-per-node 2 -m depcli train ..., or leave --shard-backbone out",
        )
    if hardware.shard and hardware.precision in ONLY_WHOLE:
        raise Incompatible(
            f"weights in {hardware.precision} cannot be spread over workers",
            "--backbone-precision bf16 or fp8, or leave --shard-backbone out",
        )
    if hardware.shard:
        return "--shard-backbone"
    if workers.count == 1 or hardware.precision in ONLY_WHOLE:
        return None
    where = torch_device(hardware.device)
    needed, free = weights_bytes(backbone, hardware, offline=offline), free_memory(where)
    short = [free] if free is not None and needed > _FOR_WEIGHTS * free else []
    if short := workers.gather(short):
        return f"it takes {mib(needed)}, and a device has {mib(min(short))} free"
    return None


def weights_bytes(backbone: Backbone, hardware: Hardware, *, offline: bool) -> int:
    """Bytes of the weights as the device will hold them, read from the heads of the files."""
    numbers = 0
    for path in backbones.weights_folder(backbone, offline=offline).glob("*.safetensors"):
        with suppress(SafetensorError), safe_open(path, "pt") as file:  # loading says what is wrong with a file
            numbers += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())
    return numbers * number_type(hardware.precision, torch_device(hardware.device)).itemsize  # fp8 in both layouts: 2 bytes too


def _load_in_parts(backbone: Backbone, hardware: Hardware, workers: Workers, *, offline: bool) -> tuple[nn.Module, Shards]:
    """The first worker reads the weights into the host's memory and hands them out piece by piece: no device ever holds more than
    its part and a piece."""
    where = torch_device(hardware.device)
    told: list = [None]
    if workers.is_first:
        model = backbones.load_in(backbone, hardware.precision, device=hardware.device, offline=offline, on_host=True)
        told = [_without_weights(model)]
    together(lambda: dist.broadcast_object_list(told, src=0))
    model = model if workers.is_first else told[0]
    return model, Shards(model, lambda module: _hand_out(module, where), where)


def _without_weights(model) -> nn.Module:
    """A copy whose parameters have a shape and a type but no memory."""
    empty = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False) for p in model.parameters()}
    return copy.deepcopy(model, empty)


def _hand_out(module: nn.Module, where: torch.device) -> None:
    """The first worker's weights and buffers of a module onto the device of each; those in parts stay where they are."""
    placed: dict[int, nn.Parameter] = {}  # two names of one parameter stay two names of one

    def put(tensor: torch.Tensor) -> torch.Tensor:
        here = torch.empty(tensor.shape, dtype=tensor.dtype, device=where) if tensor.is_meta else tensor.to(where).contiguous()
        together(lambda: dist.broadcast(here.flatten().view(torch.uint8), src=0))  # as bytes: not every type travels
        return here

    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False, remove_duplicate=False):
            if local(parameter) is parameter:
                if id(parameter) not in placed:
                    placed[id(parameter)] = nn.Parameter(put(parameter.detach()), requires_grad=False)
                setattr(part, name, placed[id(parameter)])
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, buffer.to(where))
