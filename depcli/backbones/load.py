"""Load a backbone for transformers: tokenizer, chat format, frozen model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from depcli.backbones.catalogue import Backbone
from depcli.backbones.fetch import weights_folder
from depcli.chat import Chat
from depcli.errors import BadInput, Incompatible, MissingDependency

_SAID = 200  # characters of what transformers says


def load_tokenizer(backbone: Backbone, *, offline: bool = False):
    """The Hugging Face tokenizer, its `eos_token` the one that ends an answer in its chat format. Raises NotFound, NeedsNetwork,
    BadInput."""
    from transformers import AutoTokenizer

    folder = weights_folder(backbone, offline=offline)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the Rust tokenizers raise plain Exception for a damaged file
        raise BadInput(f"the tokenizer in {folder} cannot be loaded: {error}", "fetch or save the model again") from error
    tokenizer.model_max_length = sys.maxsize  # texts are measured before they are cut: nobody is to be warned of long ones
    if (chat := _format(tokenizer)) and (end := chat.end_of_answer()):
        tokenizer.eos_token = end
    return tokenizer


def chat_of(tokenizer) -> Chat:
    """The chat format of a tokenizer. `specials` are all its added tokens. Raises Incompatible when it has no chat template."""
    chat = _format(tokenizer)
    if chat is None:
        raise Incompatible(f"{tokenizer.name_or_path} has no chat template", "use an instruct model")
    if tokenizer.eos_token is None:
        raise Incompatible(f"{tokenizer.name_or_path} has no end-of-turn token", "use an instruct model")
    return chat


def _format(tokenizer) -> Chat | None:
    """None without a chat template, or with several of which none is the usual one."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError:
        return None
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    return Chat(template, tokenizer.eos_token or "", tokenizer.bos_token or "", tuple(sorted(added)))


def load_model(backbone: Backbone, *, device: str = "auto", dtype: str = "auto", offline: bool = False, quantization=None):
    """The model, frozen and in eval mode, on `device` ('auto' is cuda where there is one, else cpu).

    `dtype` 'auto' is bfloat16 on cuda and float32 elsewhere; `quantization` is one of transformers' configurations. Raises
    NotFound, NeedsNetwork, MissingDependency when the device is absent, BadInput when the weights are damaged or incomplete,
    Incompatible for an architecture that cannot be loaded or is not a text model alone.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    where = torch_device(device)
    folder = weights_folder(backbone, offline=offline)
    if dtype == "auto":
        dtype = "bfloat16" if where.type == "cuda" else "float32"

    def loaded(attention: str):
        return AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            local_files_only=True,
            output_loading_info=True,
            **({} if quantization is None else {"quantization_config": quantization, "device_map": {"": where}}),
        )

    try:
        with without_progress_bars():
            try:
                model, report = loaded("sdpa")
            except ValueError as error:
                if "scaled_dot_product_attention" not in str(error):
                    raise
                model, report = loaded("eager")
            if getattr(model.config, "attn_logit_softcapping", None):  # Gemma 2: the kernels of SDPA leave the cap out
                model.set_attn_implementation("eager")
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise BadInput(f"the weights in {folder} cannot be read: {error}", "fetch or save the model again") from error
    except (ValueError, KeyError, OSError) as error:
        said = str(error).splitlines()[0][:_SAID] if str(error) else type(error).__name__
        message = f"{folder} holds no causal language model that transformers can load: {said}"
        raise Incompatible(message, "use a decoder-only language model that the installed transformers knows") from error
    if lacking := [name for name in ("hidden_size", "max_position_embeddings") if not hasattr(model.config, name)]:
        message = f"the configuration in {folder} ({type(model).__name__}) has no {' and no '.join(lacking)}"
        raise Incompatible(message, "use a text model with a context of known length; of one that sees too, its text part alone")
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
