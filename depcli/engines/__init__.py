"""Engines: SoftPrompts in, Completions out. All of them are used alike; they differ in what they need and how fast they are."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

from depcli.backbones.catalogue import Backbone
from depcli.engines.tuning import USUAL, Tuning
from depcli.errors import MissingDependency, NotFound

if TYPE_CHECKING:
    from depcli.engines.engine import Engine
    from depcli.engines.llama.kept_states import KeptStates

# How each takes a backbone: as a GGUF, as weights, or not at all since it runs elsewhere.
FORMS = {"llamacpp": "gguf", "transformers": "weights", "vllm": "weights", "openai": None}
NAMES = tuple(FORMS)


def load(
    name: str,
    backbone: Backbone,
    *,
    offline: bool = False,
    device: str = "auto",
    exact: bool = False,
    tuning: Tuning = USUAL,
    kept: KeptStates | None = None,
) -> Engine:
    """The engine called `name` with `backbone` loaded. `exact` trades speed for float32 everywhere, for comparisons.

    `device` and `exact` mean nothing to an endpoint, which is what OPENAI_BASE_URL and OPENAI_API_KEY say. `kept` are prompt
    states of earlier processes, which llamacpp goes on from.

    Raises NotFound, NeedsNetwork, MissingDependency, BadInput, Incompatible.
    """
    tuning.check(name)
    if name == "transformers":
        from depcli.engines.transformers import TransformersEngine

        return TransformersEngine.open(backbone, offline=offline, device=device, exact=exact)
    if name == "llamacpp":
        try:
            from depcli.engines.llama.engine import LlamaCppEngine
        except (ImportError, OSError, RuntimeError) as error:  # the two latter: a wheel whose libraries this machine cannot load
            raise MissingDependency(
                f"llama-cpp-python cannot be used: {error}", "pip install llama-cpp-python, or use --engine transformers"
            ) from error
        return LlamaCppEngine(backbone, offline=offline, device=device, exact=exact, tuning=tuning, kept=kept)
    if name == "vllm":
        if find_spec("vllm") is None:
            raise MissingDependency("the engine vllm needs the package vllm", 'pip install "depcli[vllm]"')
        from depcli.engines.vllm.process import prepare_environment

        prepare_environment()
        try:
            with warnings.catch_warnings(action="ignore"):  # of its own making
                from depcli.engines.vllm.engine import VllmEngine
        except (ImportError, OSError, RuntimeError) as error:  # the two latter: a wheel whose libraries this machine cannot load
            raise MissingDependency(
                f"vLLM cannot be used: {error}", "install a vLLM for this machine, or use --engine transformers"
            ) from error
        return VllmEngine(backbone, offline=offline, device=device, exact=exact, tensor_parallel=tuning.tensor_parallel)
    if name == "openai":
        if find_spec("openai") is None:
            raise MissingDependency("the engine openai needs the package openai", 'pip install "depcli[openai]"')
        from depcli.engines.openai import OpenAIEngine

        return OpenAIEngine(backbone, offline=offline)
    raise NotFound(f"no engine {name!r}", f"give one of {', '.join(NAMES)}")
