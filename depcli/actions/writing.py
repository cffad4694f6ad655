"""The write road: request -> Prompt -> SoftPrompt -> review. `dep write`, `dep eval` and `dep demo` all travel it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path

from depcli import backbones, methods
from depcli.adapters import files, light
from depcli.adapters.project import project
from depcli.analysts.analyst import Analyst
from depcli.analysts.cache import ProfileCache
from depcli.backbones.catalogue import Backbone
from depcli.errors import Incompatible, NotFound, Unknown
from depcli.methods.profiler import Profiler
from depcli.personal.choices import HISTORY, choices_of
from depcli.personal.history import store_text, unknown_user
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import Completion, Item, Prompt, Request, Sampling, SoftPrompt
from depcli.thought import THINKING, ThoughtFilter, as_written
from depcli.words import count


@dataclass(frozen=True, eq=False)
class Written:
    """One request and what became of it; `soft` is what the engine read, `seed` the one that was used."""

    request: Request
    prompt: Prompt
    soft: SoftPrompt
    completion: Completion
    seed: int

    @property
    def problem(self) -> str | None:
        """Why there is no text: all of it was a thought. None where something was written."""
        if self.completion.finish != THINKING:
            return None
        spent = f", in {count(tokens, 'token')}" if (tokens := self.completion.generated_tokens) else ""
        return f"the model thought, and wrote nothing{spent}"


class Writer:
    """One method on one store snapshot with one engine. `adapter` is None for text-only methods."""

    def __init__(self, builder: PromptBuilder, engine, adapter=None, adapter_config: dict | None = None):
        self.builder, self.engine, self.adapter, self.adapter_config = builder, engine, adapter, adapter_config

    @property
    def method(self) -> str:
        return self.builder.method.name

    @property
    def caution(self) -> str | None:
        """What to say before anything is written: that the adapter learned in another chat format. None where all is well."""
        trained = (self.adapter_config or {}).get("chat")  # none in what earlier versions trained
        if trained in (None, self.engine.chat.digest()):
            return None
        of, mend = "of the backbone's tokenizer", "train the adapter again"
        if self.engine.name == "llamacpp":  # training has it from the tokenizer
            of, mend = "in the GGUF", "make it again with `python -m depcli.backbones.gguf`, or write with --engine transformers"
        return f"the chat format {of} is not the one that the adapter was trained with, and texts may be worse for it: {mend}"

    @property
    def room(self) -> int:
        """Tokens of a review that the longest prompt leaves in the context."""
        return self.engine.context - self.builder.max_input_tokens

    def soft(self, prompt: Prompt) -> SoftPrompt:
        """What the engine reads for a prompt."""
        if self.adapter is None:
            return SoftPrompt(prompt.parts)
        return replace(project(self.adapter, prompt), origin=(self.adapter_config or {}).get("weights_sha256", ""))

    def write(
        self, requests: Iterable[Request], sampling: Sampling, on_text: Callable[[str], None] | None = None
    ) -> Iterator[Written]:
        """Reviews in the order of the requests, as they are made. Each request has a seed of its own, so that neither
        order nor neighbours matter: see `seed_of`. What the model thinks before it writes is left out, and a text that ends
        before its thought does is empty."""
        return self.write_often(((request, (sampling.seed,)) for request in requests), sampling, on_text)

    def write_often(
        self, asked: Iterable[tuple[Request, Sequence[int]]], sampling: Sampling, on_text: Callable[[str], None] | None = None
    ) -> Iterator[Written]:
        """Each request with each of its seeds (which take the place of `sampling.seed`), one after the other, so that its prompt
        is made once and an engine can go on from what it has just read. The texts are those of `write`."""
        waiting: list[tuple[Request, Prompt, SoftPrompt, int]] = []
        asked, again = tee(asked)

        def soft_prompts():
            for (request, seeds), prompt in zip(asked, self.builder.build_all(request for request, _ in again), strict=True):
                soft = self.soft(prompt)
                for seed in seeds:
                    own = seed_of(seed, request)
                    waiting.append((request, prompt, soft, own))
                    yield soft, replace(sampling, seed=own)

        shown = ThoughtFilter(on_text) if on_text else None
        for completion in self.engine.generate(soft_prompts(), shown and shown.feed):
            if shown:
                shown.end()
            request, prompt, soft, seed = waiting.pop(0)
            yield Written(request, prompt, soft, as_written(completion, blind=self.engine.blind), seed)


def seed_of(seed: int, request: Request) -> int:
    """A seed of 31 bits from the run's seed, the user and the item."""
    key = f"{seed}\0{len(request.user_id)}\0{request.user_id}\0{request.item.asin}"
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


def make_writer(
    *,
    store,
    snapshot,
    method: str,
    backbone: Backbone,
    engine,
    adapter_folder: Path | None = None,
    held_out: Iterable[tuple[str, str]] = (),
    max_input_tokens: int | None = None,
    history: int | None = None,
    template: str | None = None,
    min_peers: int | None = None,
    analyst: Analyst | None = None,
    on_profile: Callable[[int], None] = lambda reviews: None,
    embedder=None,
    choices: dict | None = None,
) -> Writer:
    """Put the parts together. `template` and `max_input_tokens` are for methods without an adapter: an adapter brings its own, as
    it was trained. Unset, they are the backbone's. `history` (past reviews, at most) and `min_peers` are the adapter's too, 8 and
    1 without one. Methods with a profile need an `analyst`; `on_profile` is called with the number of reviews before one is made.
    Methods with soft tokens before the prompt need the `embedder` of the store, and so does dense retrieval. `choices` are fields
    of personal.choices.Choices that are asked for; an adapter brings its own.

    Raises NotFound for an unknown method or adapter, Incompatible when adapter, store and backbone do not belong together,
    another `template`, `history` or `min_peers` is given than the adapter was trained with, or an analyst is missing.
    """
    chosen = methods.find(method)
    adapter = config = None
    if chosen.needs_adapter:
        if adapter_folder is None:
            raise NotFound(
                f"method {method!r} needs an adapter", f"train one: dep train --method {method} --backbone {backbone.name}"
            )
        adapter, config = light.load(adapter_folder)
        files.check_method(adapter_folder, config, method)
        files.check_fit(adapter_folder, config, embedder=store.embedder, backbone=backbones.recognise(backbone, engine.width))
        if template:
            raise Incompatible(f"adapter {adapter_folder.name!r} brings its own template", "leave --template out")
        template, history = files.template_of(adapter_folder, config), files.history_of(adapter_folder, config, history)
        max_input_tokens, min_peers = config["max_input_tokens"], files.min_peers_of(adapter_folder, config, min_peers)
    made = choices_of(chosen, adapter_folder if config else None, config, choices or {})
    budget = max_input_tokens or backbone.prompt_budget(engine.context)
    if budget >= engine.context:
        raise Incompatible(
            f"prompts of {budget:,} tokens leave no room for a review: {backbone.name} holds {engine.context:,}",
            "train an adapter with shorter prompts: dep train --max-input-tokens N",
        )
    profiler = None
    if chosen.profile:
        if analyst is None:
            raise Incompatible(f"method {method!r} needs an analyst, who makes its profiles", "see analysts.choose.analyst")
        cache = ProfileCache(Path(store.path))
        profiler = Profiler(chosen, snapshot, analyst, cache, held_out=held_out, min_peers=min_peers or 1, on_make=on_profile)
    builder = PromptBuilder(
        snapshot,
        chosen,
        Template(template or backbone.template),
        engine.chat,
        engine.count,
        k=HISTORY if history is None else history,
        max_input_tokens=budget,
        held_out=held_out,
        min_peers=min_peers or 1,
        profiler=profiler,
        embed=embedder.encode if embedder else None,
        choices=made,
    )
    return Writer(builder, engine, adapter, config)


def find_request(
    snapshot,
    user_id: str,
    asin: str,
    *,
    rating: float | None = None,
    title: str | None = None,
    item_title: str | None = None,
    item_description: str | None = None,
    item_task: str | None = None,
) -> Request:
    """A request for a user and an item of the store; an unknown item is fine once it is described.

    Raises Unknown with what there is.
    """
    if not snapshot.has_user(user_id):
        raise unknown_user(snapshot, user_id)
    known = snapshot.items([asin]).get(asin)
    if known is None and not (item_title or item_description) and asin not in snapshot.sums([asin]):
        raise Unknown(
            f"no item {asin!r} in {store_text(snapshot)}",
            f"it knows {snapshot.counts()['items']:,} items; describe this one with --item-title and --item-description",
        )
    known = known or Item(asin)
    item = Item(
        asin,
        known.title if item_title is None else item_title,
        known.description if item_description is None else item_description,
        known.task if item_task is None else item_task,
    )
    return Request(user_id, item, rating, title)
