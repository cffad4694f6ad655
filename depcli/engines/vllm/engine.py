"""The engine for GPUs: stock vLLM, as many requests at once as fit, their completions in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial

import torch
from transformers import AutoConfig, GenerationConfig
from vllm.v1.engine.exceptions import EngineDeadError

from depcli.backbones import Backbone, chat_of, fingerprint, load_tokenizer
from depcli.backbones.fetch import weights_folder
from depcli.backbones.sequence import encode
from depcli.engines.checks import check_room, check_width
from depcli.engines.engine import Engine
from depcli.engines.text import TextStream, end_tokens, text_of
from depcli.engines.vllm.flight import Draft, Flight
from depcli.engines.vllm.process import VllmProcess
from depcli.engines.vllm.prompts import mixed, params_of
from depcli.errors import DepError
from depcli.records import Completion, Sampling, SoftPrompt
from depcli.thought import THINK


class VllmEngine(Engine):
    """Writes with vLLM. `exact` computes in float32; `more` are arguments of vllm.LLM that replace ours.

    vLLM's rounding depends on which requests it computes together, so in half precision a text may depend on its neighbours.
    """

    name = "vllm"

    def __init__(
        self,
        backbone: Backbone,
        *,
        offline: bool = False,
        device: str = "auto",
        exact: bool = False,
        tensor_parallel: int = 1,
        more: dict | None = None,
    ):
        folder = weights_folder(backbone, offline=offline)
        self._config = config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self.tokenizer, self.backbone = load_tokenizer(backbone, offline=offline), backbone
        self.chat = chat_of(self.tokenizer)
        self.width: int = config.hidden_size
        self.context: int = config.max_position_embeddings
        self._ends = end_tokens(_generation_config(folder, config), self.tokenizer)
        self._padding = range(len(self.tokenizer), config.vocab_size)  # ids without a text
        self._no_padding = dict.fromkeys(self._padding, float("-inf")) or None
        self._thinks = len(self.tokenizer(THINK, add_special_tokens=False)["input_ids"]) == 1
        self._start = partial(
            VllmProcess,
            folder,
            context=self.context,
            device=device,
            exact=exact,
            tensor_parallel=tensor_parallel,
            more=more or {},
        )
        self._vllm = self._start()

    @cached_property
    def identity(self) -> dict:
        return fingerprint(self.backbone, self._config)

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(
        self, requests: Iterable[tuple[SoftPrompt, Sampling]], on_text: Callable[[str], None] | None = None
    ) -> Iterator[Completion]:
        """Completions in the order of `requests`, which are taken while fewer than 1,024 are under way and their tensors have
        room. `on_text` gets the text of all completions in that order, that of the first unfinished one as it comes.

        A request that cannot be written is raised (Incompatible, BadInput) when those before it are handed out. Raises DepError
        when vLLM has died.
        """
        if self._vllm is None:
            self._vllm = self._start()
        requests, flight = iter(requests), Flight(self._vllm.core, self._vllm.room_beside)
        failure, more = None, True
        try:
            while more or flight:
                while more and flight.has_room:
                    try:
                        flight.add(self._draft(*next(requests), on_text))
                    except StopIteration:
                        more = False
                    except DepError as error:
                        failure, more = error, False
                for draft in flight.step():
                    self._check_tokens(draft, flight)
                for draft in flight.landed():
                    yield draft.completion(text_of(self.tokenizer, draft.tokens))
        except (EngineDeadError, torch.OutOfMemoryError) as error:
            flight.crash()
            raise DepError(
                f"vLLM has died: {str(error).strip().splitlines()[0]}",
                "see what it says above (out of memory, a lost GPU?) and run the same command again: what was written is kept",
            ) from error
        finally:
            flight.abort()
        if failure:
            raise failure

    def _draft(self, prompt: SoftPrompt, sampling: Sampling, on_text: Callable[[str], None] | None) -> Draft:
        check_width(prompt, self.width, self.backbone.name)
        encoded = encode(prompt.parts, self.tokenizer)
        check_room(len(encoded.ids), sampling.max_new_tokens, self.context, self.backbone.name)
        params = params_of(prompt, sampling, self._ends, thinks=self._thinks)
        stream = None
        if on_text:
            stream, params.logit_bias = TextStream(self.tokenizer, on_text), self._no_padding
        return Draft(mixed(prompt, encoded, self._vllm.dtype), params, stream)

    def _check_tokens(self, draft: Draft, flight: Flight) -> None:
        """Let a text be written again that has tokens beyond the tokenizer's. Models hardly do that, and to forbid it to all
        would cost time in every step."""
        if draft.params.logit_bias is None and any(token in self._padding for token in draft.tokens):
            draft.params.logit_bias = self._no_padding
            flight.again(draft)

    def rest(self) -> None:
        """End vLLM with all its processes, so that the device is free. The next request starts it again."""
        if self._vllm is not None:
            self._vllm.end()
        self._vllm = None

    def close(self) -> None:
        self.rest()


def _generation_config(folder, config) -> GenerationConfig:
    """The model's own, of which only the end tokens are used."""
    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    return GenerationConfig.from_model_config(config)
