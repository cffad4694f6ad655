"""A device that is none: the CPU computes what lies on it, but may not mix it with its own. On a GPU that would be an error, that
no test without one would see (a GPU takes indices and masks of the CPU; this does not). It stays for the rest of the process:
import it in one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from depcli.backbones import load, precision
from depcli.training import backbone

ELSEWHERE = "elsewhere"
_setup_privateuseone_for_python_backend(ELSEWHERE)
getattr(torch, ELSEWHERE).get_amp_supported_dtype = list  # gradient checkpointing asks
aten = torch.ops.aten
_MOVES = (aten._to_copy.default, aten.copy_.default)
_PRODUCTS = (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__)


class There(torch.Tensor):
    """A tensor elsewhere; `held` is its content."""

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return cls._make_wrapper_subclass(cls, held.shape, device=torch.device(ELSEWHERE, 0), **layout)

    def __init__(self, held: torch.Tensor):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, function, types, given=(), named=None):
        return _compute(function, given, named or {})


def _is_elsewhere(device) -> bool:
    return device is not None and torch.device(device).type == ELSEWHERE


def _compute(function, given: tuple, named: dict):
    """What the CPU makes of the contents. Raises RuntimeError where tensors of both devices meet (single numbers may)."""
    leaves = tree_leaves((given, named))
    there = [leaf for leaf in leaves if isinstance(leaf, There)]
    here = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, There) and leaf.dim()]
    if there and here and function not in _MOVES:
        raise RuntimeError(f"{function} was given tensors of two devices")
    asked = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    stays = isinstance(given[0], There) if function is aten.copy_.default else bool(there)
    goes_there = _is_elsewhere(asked[0]) if asked else stays

    def content(leaf):
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf.held if isinstance(leaf, There) else leaf

    same = {id(tensor.held): tensor for tensor in there}  # of what was changed in place

    def placed(leaf):
        if not (goes_there and isinstance(leaf, torch.Tensor)):
            return leaf
        return same[id(leaf)] if id(leaf) in same else There(leaf)

    return tree_map(placed, function(*tree_map(content, given), **tree_map(content, named)))


class _Calls(TorchFunctionMode):
    """What PyTorch would do within, where nobody sees it."""

    def __torch_function__(self, function, types, given=(), named=None):
        named = named or {}
        if function is torch.tensor and _is_elsewhere(named.get("device")):
            return torch.tensor(*given, **{**named, "device": "cpu"}).to(named["device"])
        if function in _PRODUCTS and given[0].dim() == 1:
            return (given[0][None] @ given[1])[0]
        return function(*given, **named)


class _Operations(TorchDispatchMode):
    """Those that get a device and no tensor."""

    def __torch_dispatch__(self, function, types, given=(), named=None):
        return _compute(function, given, named or {})


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within, tensors and modules can be moved there and be made there, and backbones loaded."""
    to, find = torch.nn.Module.to, load.torch_device

    def moved(module, where=None, *given, **named):
        there = isinstance(where, str | torch.device) and _is_elsewhere(where)
        return _send(module) if there else to(module, where, *given, **named)

    def found(name="auto"):
        return torch.device(name) if name.startswith(ELSEWHERE) else find(name)

    with pytest.MonkeyPatch.context() as patch, _Calls(), _Operations():
        patch.setattr(torch.nn.Module, "to", moved)
        for module in (load, precision, backbone):
            patch.setattr(module, "torch_device", found)
        yield


def _send(module: torch.nn.Module) -> torch.nn.Module:
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(There(parameter.data), requires_grad=parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer if buffer is None else There(buffer)
    return module
