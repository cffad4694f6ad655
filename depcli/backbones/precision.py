"""A frozen backbone in fewer bits than its file has."""

from __future__ import annotations

from importlib.util import find_spec

from depcli.backbones.catalogue import Backbone
from depcli.backbones.load import load_model, torch_device
from depcli.errors import MissingDependency

_FP8_SINCE = (8, 9)  # compute capability: Ada and Hopper


def load_in(backbone: Backbone, precision: str | None, *, device: str = "auto", offline: bool = False, on_host: bool = False):
    """The model as `load_model` gives it (`precision` None), or with the weights of its layers in bf16, fp8, int8 or int4; the
    embeddings and the head stay in 16 bits. int8 and int4 (nf4) are those of bitsandbytes. `on_host` leaves the weights, made
    for `device`, in the host's memory; not those of bitsandbytes.

    Raises MissingDependency where the package or the units are missing, and what load_model raises.
    """
    where = torch_device(device)
    if precision in ("int8", "int4"):
        return load_model(backbone, device=device, dtype="bfloat16", offline=offline, quantization=_bitsandbytes(precision))
    if precision == "fp8":
        _check_fp8(where)
    dtype = str(number_type(precision, where)).removeprefix("torch.")
    model = load_model(backbone, device="cpu" if on_host else device, dtype=dtype, offline=offline)
    if precision == "fp8":
        from depcli.backbones.fp8 import to_fp8

        to_fp8(model, model.get_output_embeddings())
    return model


def number_type(precision: str | None, where):
    """The torch.dtype that a backbone computes in on a torch.device."""
    import torch

    return torch.float32 if precision is None and where.type != "cuda" else torch.bfloat16


def _check_fp8(where) -> None:
    import torch

    if where.type == "cuda" and torch.cuda.get_device_capability(where) < _FP8_SINCE:
        name = torch.cuda.get_device_name(where)
        raise MissingDependency(f"{name} has no 8-bit floating point", "--backbone-precision int8 (less memory) or bf16")


def _bitsandbytes(precision: str):
    missing = [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]
    if missing:
        raise MissingDependency(f"{precision} weights need {' and '.join(missing)}", "pip install 'depcli[quantized]'")
    import torch
    from transformers import BitsAndBytesConfig

    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
