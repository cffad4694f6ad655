"""Load a backbone for transformers: tokenizer, chat format, frozen model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from depcli.backbones.catalogue import Backbone
from depcli.backbones.fetch import weights_folder
from depcli.chat import Chat
from depcli.errors import BadInput, Incompatible, MissingDependency


def load_tokenizer(backbone: Backbone, *, offline: bool = False):
    """The Hugging Face tokenizer. Raises NotFound, NeedsNetwork, BadInput."""
    from transformers import AutoTokenizer

    folder = weights_folder(backbone, offline=offline)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the Rust tokenizers raise plain Exception for a damaged file
        raise BadInput(f"the tokenizer in {folder} cannot be loaded: {error}", "fetch or save the model again") from error
    tokenizer.model_max_length = sys.maxsize  # texts are measured before they are cut: nobody is to be warned of long ones
    return tokenizer


def chat_of(tokenizer) -> Chat:
    """The chat format of a tokenizer. `specials` are all its added tokens. Raises Incompatible when it has no chat template."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        raise Incompatible(f"{tokenizer.name_or_path} has no chat template", "use an instruct model") from error
    if tokenizer.eos_token is None:
        raise Incompatible(f"{tokenizer.name_or_path} has no end-of-turn token", "use an instruct model")
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    return Chat(template, tokenizer.eos_token, tokenizer.bos_token or "", tuple(sorted(added)))


def load_model(backbone: Backbone, *, device: str = "auto", dtype: str = "auto", offline: bool = False, quantization=None):
    """The model, frozen and in eval mode, on `device` ('auto' is cuda where there is one, else cpu).

    `dtype` 'auto' is bfloat16 on cuda and float32 elsewhere; `quantization` is one of transformers' configurations. Raises
    NotFound, NeedsNetwork, MissingDependency when the device is absent, BadInput when the weights are damaged or incomplete,
    Incompatible for an architecture that cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    where = torch_device(device)
    folder = weights_folder(backbone, offline=offline)
    if dtype == "auto":
        dtype = "bfloat16" if where.type == "cuda" else "float32"
    try:
        with without_progress_bars():
            model, report = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), attn_implementation="sdpa", local_files_only=True, output_loading_info=True,
                **({} if quantization is None else {"quantization_config": quantization, "device_map": {"": where}}),
            )  # fmt: skip
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise BadInput(f"the weights in {folder} cannot be read: {error}", "fetch or save the model again") from error
    except (ValueError, KeyError, OSError) as error:
        raise Incompatible(f"{folder} holds no causal language model that transformers can load: {error}") from error
    if report["missing_keys"]:  # these would be random numbers
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise BadInput(f"{folder} lacks weights: {some}", "fetch or save the model again")
    model = model if quantization else model.to(where)  # quantized weights are where they belong
    return model.eval().requires_grad_(False)


def torch_device(name: str = "auto"):
    """The torch.device called `name`; raises MissingDependency when this machine lacks it."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MissingDependency(f"no device {name!r}", "use --device auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise MissingDependency(f"nothing is tested on the device {name!r}", "use --device auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MissingDependency(f"there is no device {name!r} here", "use --device auto or cpu")
    return device


@contextmanager
def without_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
