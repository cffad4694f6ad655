"""What vLLM is given for one request: the prompt in its mixed form, and every sampling setting by name.

vLLM checks next to nothing of a tensor: a wrong width ends its process, not-a-numbers and whole numbers become texts without
sense. So all of that is checked here.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from depcli.backbones.sequence import Encoded
from depcli.engines.constraint import opens_thought
from depcli.errors import BadInput, Incompatible
from depcli.records import Sampling, SoftPrompt, Vectors
from depcli.thought import THINK, THOUGHT

_HOTTEST = 2


def mixed(prompt: SoftPrompt, encoded: Encoded, dtype: torch.dtype) -> dict:
    """The prompt as vLLM's EmbedsPrompt: token ids, a mask, and a tensor (T, H) with the soft tokens in their places and zeros
    elsewhere. Text alone goes as token ids. Raises BadInput for soft tokens that the model could not read."""
    ids = encoded.ids.tolist()
    if prompt.text_only:
        return {"prompt_token_ids": ids}
    rows = torch.from_numpy(np.concatenate([part.rows for part in prompt.parts if isinstance(part, Vectors)]))
    rows = rows.to(dtype)
    check_rows(rows, len(encoded.soft), prompt.width)
    embeds = torch.zeros(len(ids), prompt.width, dtype=dtype)
    embeds[torch.from_numpy(encoded.soft).long()] = rows
    is_token = np.ones(len(ids), bool)
    is_token[encoded.soft] = False
    # The salt keeps states apart that were read with different adapters, whatever vLLM's cache takes for equal.
    salt = {"cache_salt": prompt.origin} if prompt.origin else {}
    return {"prompt_embeds": embeds, "prompt_token_ids": ids, "prompt_is_token_ids": is_token.tolist(), **salt}


def check_rows(rows: torch.Tensor, count: int, width: int) -> None:
    """Raise BadInput unless these are `count` soft tokens of this width: floating point, finite, none all zero."""
    if rows.shape != (count, width) or not rows.dtype.is_floating_point:
        raise BadInput(f"soft tokens must be {count} x {width} floating-point numbers, not {tuple(rows.shape)} {rows.dtype}")
    if not torch.isfinite(rows).all():
        raise BadInput(f"soft tokens are not finite as {rows.dtype}", "train the adapter again, or use --engine transformers")
    if not rows.any(dim=1).all():
        raise BadInput(f"a soft token is all zero as {rows.dtype}", "train the adapter again, or use --engine transformers")


def params_of(prompt: SoftPrompt, sampling: Sampling, ends: frozenset[int], *, thinks: bool) -> SamplingParams:
    """Every setting, so that nothing comes from the model's files. `thinks` is whether the model has a token that begins a
    thought. Raises Incompatible for a temperature that vLLM does not take."""
    if sampling.temperature > _HOTTEST:
        raise Incompatible(f"vLLM takes temperatures up to {_HOTTEST}", "a lower --temperature, or another --engine")
    greedy = sampling.temperature <= 0
    return SamplingParams(
        n=1,
        temperature=max(sampling.temperature, 0.0),
        top_p=sampling.top_p if not greedy else 1.0,
        top_k=0,
        min_p=0.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
        seed=None if greedy else sampling.seed,
        max_tokens=sampling.max_new_tokens,
        min_tokens=0,
        stop=None,
        stop_token_ids=sorted(ends),
        ignore_eos=True,
        bad_words=None,
        logit_bias=None,
        structured_outputs=_structure(prompt, sampling.schema, thinks) if sampling.schema else None,
        detokenize=False,
    )


def _structure(prompt: SoftPrompt, schema: str, thinks: bool) -> StructuredOutputsParams:
    """The schema, from the end of a thought on where there is one: what engines.constraint does for the other engines."""
    opened = opens_thought(prompt)
    if not opened and not thinks:
        return StructuredOutputsParams(json=schema)
    compact = json.dumps({"x-guidance": {"whitespace_flexible": False}, **json.loads(schema)})
    thought = THOUGHT.replace("/", "\\/")
    grammar = [
        "start: thought answer" if opened else f'start: ("{THINK}" thought)? answer',
        f"thought[lazy]: /(.|\\n)*{thought}/",
        f"answer: %json {compact}",
    ]
    return StructuredOutputsParams(grammar="\n".join(grammar))
