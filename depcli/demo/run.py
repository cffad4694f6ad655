"""`dep demo`: the whole road on the made-up world, from reviews to a review in somebody's voice and a first table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depcli import backbones, engines
from depcli.actions import writing
from depcli.adapters.files import folder_of
from depcli.demo.world import world
from depcli.embedders import minilm
from depcli.errors import NotFound
from depcli.evaluation.measures.likelihood import EngineScorer
from depcli.evaluation.statistics.significance import Interval, paired_bootstrap
from depcli.profiles import store_to_fill
from depcli.records import Likelihood, Request, Sampling
from depcli.splits.split import choose, leave_last_out, pairs_of
from depcli.store import Store
from depcli.store.writing.ingest import IngestReport, ingest
from depcli.training.options import TrainOptions
from depcli.training.run import TrainReport, train

METHODS = ("nonperso", "rag", "dep")
ADAPTER = "demo"
# Thirty people with strong habits and few reviews: smaller batches than usual, twice over, for a minute or two on two cores.
OPTIONS = TrainOptions(epochs=2, batch_size=8)
_MAX_NEW_TOKENS = 160  # the longest review of the world has about a hundred


@dataclass(frozen=True)
class DemoReport:
    """What the demo came to. `losses` are nats per token of the held-out reviews by method, `behind_dep` how much more than
    DEP's, with a 95 % interval over these reviews; `written` is what each method wrote for `request`, `real` what was written."""

    profiles: Path
    ingested: IngestReport
    trained: TrainReport
    request: Request
    real: str
    written: dict[str, str]
    losses: dict[str, float]
    behind_dep: dict[str, Interval]
    seed: int


def run(
    profiles: Path,
    *,
    backbone: str = "mini",
    embedder: str | None = None,
    seed: int = 0,
    offline: bool = False,
    options: TrainOptions = OPTIONS,
    on_event: Callable[[dict], None] = lambda event: None,
) -> DemoReport:
    """Ingest, train, write and measure in `profiles`, which is made if need be. The world comes in again at no cost, the
    adapter `demo` is trained anew. Events are {"part": title}, {"note": text}, or those of `ingest` and `train`."""
    on_event({"part": "1. ingest: thirty made-up people and what they think of forty made-up things"})
    store, ingested = _ingest(profiles, embedder, offline, on_event)
    found, folder = backbones.find(backbone), folder_of(profiles, ADAPTER)
    on_event({"part": f"2. train: an adapter for the backbone {found.name}, which stays as it is"})
    trained = train(store=store, backbone=found, folder=folder, options=options, replace=True, offline=offline, on_event=on_event)
    snapshot = store.snapshot()
    split = leave_last_out(snapshot, targets_per_user=options.targets_per_user)
    pairs = list(pairs_of(choose(split, "test", seed=seed), snapshot))
    request, real = pairs[0]

    def writer(method: str, engine) -> writing.Writer:
        return writing.make_writer(
            store=store,
            snapshot=snapshot,
            method=method,
            backbone=found,
            engine=engine,
            held_out=split.held_out,
            adapter_folder=folder if method == "dep" else None,
            history=options.history,
        )

    with engines.load("llamacpp", found, offline=offline) as engine:
        writers = {method: writer(method, engine) for method in METHODS}
        on_event({"part": "3. measure: how well each method foresees the last review of everybody, which nobody learned from"})
        found_by = {method: _likelihoods(one, pairs) for method, one in writers.items()}
        on_event({"part": "4. write: one of these reviews, three ways"})
        sampling = Sampling(max_new_tokens=_MAX_NEW_TOKENS, seed=seed)
        written = {method: next(one.write([request], sampling)).completion.text for method, one in writers.items()}
    losses = {method: sum(one.nats for one in each) / sum(one.tokens for one in each) for method, each in found_by.items()}
    users = [asked.user_id for asked, _ in pairs]
    behind = {method: _behind(found_by[method], found_by["dep"], users) for method in METHODS if method != "dep"}
    return DemoReport(profiles, ingested, trained, request, real, written, losses, behind, seed)


def _ingest(profiles: Path, embedder: str | None, offline: bool, on_event) -> tuple[Store, IngestReport]:
    try:
        Store.open(profiles)
    except NotFound:
        embedder = embedder or ("minilm" if minilm.installed() else None)
    store, chosen, reason = store_to_fill(profiles, embedder, offline=offline)
    on_event({"note": f"embedder: {chosen.identity}: {reason}"})
    reviews, items = world()
    return store, ingest(store, [*items, *reviews], chosen, source="the made-up world", on_progress=on_event)


def _likelihoods(writer: writing.Writer, pairs: list[tuple[Request, str]]) -> list[Likelihood]:
    """Of the real review of each pair."""
    prompts = writer.builder.build_all(request for request, _ in pairs)
    asked = ((writer.soft(prompt), text) for prompt, (_, text) in zip(prompts, pairs, strict=True))
    return list(EngineScorer(writer.engine).likelihoods(asked))


def _behind(method: list[Likelihood], dep: list[Likelihood], users: list[str]) -> Interval:
    """How many nats per token more a method needs than DEP, on the same reviews of these users."""
    per_token = [[one.nats / one.tokens for one in each] for each in (method, dep)]
    return paired_bootstrap(*per_token, [one.tokens for one in dep], users)
