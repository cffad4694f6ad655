"""vLLM on a CUDA device against transformers there: the same texts in float32, and in bfloat16 no more rounding than its own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from depcli.backbones import find
from depcli.backbones.sequence import Encoded, encode, target_losses
from depcli.engines import load
from depcli.engines.vllm.process import prepare_environment
from depcli.records import Sampling, SoftPrompt, Text, Vectors

pytestmark = [pytest.mark.gpu, pytest.mark.vllm, pytest.mark.filterwarnings("default")]
GREEDY = Sampling(temperature=0, max_new_tokens=48)


def prompts(width: int, count: int = 24) -> list[SoftPrompt]:
    """Of 30 to 700 positions, with three groups of four soft tokens."""
    random = np.random.default_rng(3)
    words = "the plot is thin but the actors carry it and we will watch it again although the music came late".split()
    made = []
    for n in range(count):
        parts: list[Text | Vectors] = []
        for _ in range(3):
            soft = (random.standard_normal((4, width)) * 0.3).astype(np.float32)
            parts += [Text(" " + " ".join(random.choice(words, 4 + n * 8))), Vectors(soft)]
        made.append(SoftPrompt((*parts, Text(" My review:")), width, origin="a test"))
    return made


def by_vllm(engine, wanted: list[SoftPrompt]) -> list[SimpleNamespace]:
    """The greedy tokens of each prompt and their log-probabilities."""
    from depcli.engines.vllm.prompts import mixed, params_of

    core, found = engine._vllm.core, {}
    for n, prompt in enumerate(wanted):
        params = params_of(prompt, GREEDY, engine._ends, thinks=False)
        params.logprobs = 0
        core.add_request(str(n), mixed(prompt, encode(prompt.parts, engine.tokenizer), engine._vllm.dtype), params)
    while core.has_unfinished_requests():
        found |= {int(output.request_id): output.outputs[0] for output in core.step() if output.finished}
    return [
        SimpleNamespace(
            tokens=list(found[n].token_ids),
            logs=np.array([step[token].logprob for token, step in zip(found[n].token_ids, found[n].logprobs, strict=True)]),
        )
        for n in range(len(wanted))
    ]


@torch.no_grad()
def by_transformers(reference, prompt: SoftPrompt, tokens: list[int]) -> np.ndarray:
    """Log-probabilities of these tokens, each given the prompt and those before."""
    before = encode(prompt.parts, reference.tokenizer)
    whole = Encoded(np.concatenate([before.ids, np.array(tokens, np.int32)]), before.soft, len(tokens))
    rows = np.concatenate([part.rows for part in prompt.parts if isinstance(part, Vectors)])
    return -target_losses(reference.model, [whole], torch.from_numpy(rows).to(reference.model.device)).float().cpu().numpy()


@pytest.mark.parametrize("exact", [True, False])
def test_tokens_and_their_likelihoods(exact, monkeypatch):
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # starts in seconds
    prepare_environment()
    from depcli.engines.vllm.engine import VllmEngine

    mini = find("mini")
    with VllmEngine(mini, exact=exact, more={"enforce_eager": True, "gpu_memory_utilization": 0.3}) as engine:
        wanted = prompts(engine.width)
        written = [done.tokens for done in engine.generate((prompt, GREEDY) for prompt in wanted)]
        found = by_vllm(engine, wanted)
    with load("transformers", mini, exact=exact) as reference:
        texts = [done.tokens for done in reference.generate((prompt, GREEDY) for prompt in wanted)]
        same = [by_transformers(reference, prompt, one.tokens) for prompt, one in zip(wanted, found, strict=True)]
    with load("transformers", mini, exact=True) as reference:
        full = [by_transformers(reference, prompt, one.tokens) for prompt, one in zip(wanted, found, strict=True)]
    theirs, same, full = (np.concatenate(values) for values in ([one.logs for one in found], same, full))
    if exact:
        assert written == texts
        assert np.abs(theirs - full).max() < 1e-4
    else:
        assert np.abs(theirs - full).mean() < 1.5 * np.abs(same - full).mean()
