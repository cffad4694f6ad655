"""`dep eval` as one call: a store, a backbone and what to compare in, the results of an evaluation out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

from depcli import backbones, embedders, engines
from depcli.actions import comparable
from depcli.actions.writing import make_writer
from depcli.adapters import files
from depcli.analysts.choose import analyst as asked_analyst
from depcli.backbones import foreknown
from depcli.backbones.catalogue import Backbone
from depcli.engines.tuning import USUAL, Tuning
from depcli.errors import DepError
from depcli.evaluation.clock import Clock
from depcli.evaluation.measures.likelihood import EngineScorer, WeightsScorer
from depcli.evaluation.report.page import write_page
from depcli.evaluation.run import evaluate
from depcli.evaluation.studies import STUDIES, Comparison, Variant
from depcli.personal.choices import HISTORY
from depcli.personal.unusual import distances_to_mean
from depcli.records import Sampling
from depcli.splits.split import Split, Target, choose, pairs_of

_TOLD = ("store_commit", "split", "seed", "history", "best_epoch", "validation_losses")  # of an adapter
_OPTIONS = (
    "template",
    "reduction",
    "latents",
    "targets_per_user",
    "limit",
    "epochs",
    "batch_size",
    "learning_rate",
    "select_by",
    "min_peers",
    "max_input_tokens",
    "max_target_tokens",
    "backbone_precision",
    "train_reviews",
    "weights_sha256",
)


@dataclass(frozen=True)
class Plan:
    """What is asked of an evaluation: which requests, how often, and what is measured. The reviews of a `role` of the `split`
    (see splits.named; None: the adapters', else each user's last), at most `limit`, with `seeds` sampling seeds; `swap` adds
    a swap test, `judge` (ENGINE:MODEL) a judge.

    `at` names a commit (id or number), `as_of` a moment (unix seconds) after which nothing exists; `min_peers`, `history` and
    `choices` (fields of personal.choices.Choices) are what methods without an adapter do, and what adapters may not contradict.
    `study` is the name of one in evaluation.studies, `pairs` what it tests, `missing` the commands for adapters it lacks.
    """

    split: str | None = None
    role: Literal["validation", "test"] = "test"
    limit: int | None = None
    seeds: int = 1
    swap: bool = False
    judge: str | None = None
    at: str | None = None
    as_of: float | None = None
    min_peers: int | None = None
    history: int | None = None
    choices: Mapping[str, object] = field(default_factory=dict)
    study: str | None = None
    pairs: Sequence[tuple[str, str]] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


def evaluate_store(
    *,
    store,
    backbone: Backbone,
    variants: Sequence[Variant],
    out: Path,
    sampling: Sampling,
    plan: Plan | None = None,
    engine_name: str = "llamacpp",
    report: Path | None = None,
    analyst: str | None = None,
    embedder=None,
    offline: bool = False,
    tuning: Tuning = USUAL,
    on_event: Callable[[dict], None] = lambda event: None,
) -> dict:
    """Write and score reviews by each of the `variants`, as `plan` says; see evaluation.run.evaluate. `report` is where a page
    (HTML) is to be written about it.

    Adapters are evaluated on the store commit, the moment and the split that they were trained on, so that nothing they learned
    is tested; a store that has changed since is noted, another `as_of`, `min_peers`, `history` or `split` raises Incompatible:
    also that of another commit, and that of another adapter. Text-only methods show as many past reviews as the first adapter
    does and retrieve as it does, unless told otherwise. Likelihoods are those of the weights that write; an endpoint gives none.
    `analyst` (ENGINE:MODEL) makes the profiles where the writer itself shall not; `embedder` is the store's, loaded if need be,
    and for difference alignment where it is on this machine.
    """
    plan, clock = plan or Plan(), Clock()
    with ExitStack() as held:
        with clock.part("loading"):
            trained = comparable.trained_adapters(variants, min_peers=plan.min_peers, history=plan.history)
            config = next((config for _, config in trained.values()), None)
            as_of = comparable.common_moment(trained, plan.as_of)
            snapshot = comparable.common_snapshot(store, trained, plan.at, as_of)
            if config and plan.at is None and snapshot.commit.id != store.snapshot().commit.id:
                commit = f"commit {snapshot.commit.id}, which the adapter was trained on"
                on_event({"note": f"evaluating {commit}; the store has changed since"})
            split = comparable.common_split(snapshot, trained, plan.split)
            targets = choose(split, plan.role, plan.limit, sampling.seed)
            engine = held.enter_context(engines.load(engine_name, backbone, offline=offline, tuning=tuning))
            ask = partial(asked_analyst, engine=engine, backbone=backbone, offline=offline)
            asked = held.enter_context(ask(analyst, sampling=sampling))
            judge = held.enter_context(ask(plan.judge, sampling=Sampling(0, 1))) if plan.judge else None
            floor = plan.min_peers or (config["min_peers"] if config else 1)  # as the first adapter: profiles too
            shown = plan.history if plan.history is not None else config["history"] if config else HISTORY
            retrieval = _retrieval(variants, plan)
            embedder = embedder or embedder_for(store, variants, plan, offline=offline)
            measuring, notes = (embedder, []) if embedder else _embedder_here(store)
            notes += split.notes() + _foreknown(backbone, snapshot, targets)
            writers = {
                variant.label: make_writer(
                    store=store,
                    snapshot=snapshot,
                    method=variant.method,
                    backbone=backbone,
                    engine=engine,
                    adapter_folder=variant.adapter,
                    held_out=split.held_out,
                    analyst=asked,
                    embedder=embedder,
                    choices=plan.choices if variant.adapter else {"retrieval": retrieval, **plan.choices, **variant.choices},
                    history=None if variant.adapter else shown if variant.history is None else variant.history,
                    min_peers=plan.min_peers if variant.adapter else floor,
                )
                for variant in variants
            }
            for caution in dict.fromkeys(writer.caution for writer in writers.values() if writer.caution):
                on_event({"note": caution})
                notes.append(caution)
            room, most = min(writer.room for writer in writers.values()), engine.context
            if sampling.max_new_tokens > room:
                on_event({"note": f"texts have {room:,} tokens at most: {backbone.name} holds {most:,}, with the prompt"})
                sampling = replace(sampling, max_new_tokens=room)
            scorer = _scorer(engine, backbone, min(2048, room), offline)  # of a long review the same tokens for all methods
            groups, about = _groups(snapshot, split, plan)
            comparison = Comparison(plan.pairs, groups, _study(plan, variants))
            notes += about
        settings = {
            "backbone": engine.identity,
            "chat": engine.chat.digest(),
            "engine": engine_name,
            **tuning.rounding(engine_name),
            "role": plan.role,
            "history": shown,
            "as_of": as_of,
            "min_peers": floor,
            "choices": {variant.label: _choices(writers[variant.label], variant) for variant in variants},
            "analyst": asked.name if analyst else None,
            "adapters": {label: {key: found[key] for key in _TOLD} for label, (_, found) in trained.items()},
        }
        results = evaluate(
            snapshot=snapshot,
            split=split,
            targets=targets,
            methods=writers,
            sampling=sampling,
            out=out,
            settings=settings,
            scorer=scorer,
            seeds=plan.seeds,
            embedder=measuring,
            strangers_from=getattr(split, plan.role) if plan.swap else (),
            asked=judge,
            comparison=comparison,
            clock=clock,
            training={label: _training(*found) for label, found in trained.items()},
            notes=notes,
            on_progress=on_event,
        )
    if report:
        write_page(report, results, out, snapshot)
    return results


def embedder_for(
    store, variants: Sequence[Variant], plan: Plan, *, offline: bool, ask: Callable[[str], bool] | None = None
) -> object | None:
    """The store's embedder, where one of the `variants` needs it to write. `ask` is asked before it is fetched."""
    dense = "dense" in (_retrieval(variants, plan), *(variant.settings.get("retrieval") for variant in variants))
    names = [variant.method for variant in variants]
    return embedders.for_queries(names, store, retrieval="dense" if dense else None, offline=offline, ask=ask)


def _retrieval(variants: Sequence[Variant], plan: Plan) -> str | None:
    """What text-only methods retrieve by: what was asked for, else what the first adapter was trained with."""
    trained = (files.read_config(variant.adapter)["choices"]["retrieval"] for variant in variants if variant.adapter)
    return plan.choices.get("retrieval") or next(trained, None)


def _choices(writer, variant: Variant) -> dict:
    """What the settings of a folder say of one variant, with what its study sets."""
    return {**asdict(writer.builder.choices), **variant.settings}


def _training(folder: Path, config: dict) -> dict:
    """How an adapter was trained."""
    losses = config["validation_losses"]
    return {
        "adapter": folder.name,
        "best_epoch": config["best_epoch"],
        "epochs": [{key: one[key] for key in ("epoch", "loss")} for one in config["validations"]],
        "text_alone": {name: loss for name, loss in losses.items() if name != config["type"]},
        "options": {name: config[name] for name in _OPTIONS if name in config},
    }


def _groups(snapshot, split: Split, plan: Plan) -> tuple[dict[str, set[str]] | None, list[str]]:
    """For the study of uniqueness the half of the role's users whose mean vectors lie farther from the mean of all reviews, and
    the other half; and what is to be said of them."""
    if plan.study != "uniqueness":
        return None, []
    targets = getattr(split, plan.role)
    users = sorted({target.user_id for target in targets})
    reviews, distances = distances_to_mean(snapshot, users, {target.key for target in targets})
    order = sorted(range(len(users)), key=lambda i: (-distances[i], users[i]))
    half = (len(users) + 1) // 2
    halves = {"unique": order[:half], "others": order[half:]}
    medians = (f"{median(reviews[places].tolist()):g}" if places else "none" for places in halves.values())
    about = "unique users have {} reviews in the median, the others {}: the mean of few lies farther away by chance alone"
    return {name: {users[i] for i in places} for name, places in halves.items()}, [about.format(*medians)]


def _study(plan: Plan, variants: Sequence[Variant]) -> dict | None:
    """What the results say of the study."""
    if plan.study is None:
        return None
    study = STUDIES[plan.study]
    rows = {
        variant.label: {"method": variant.method, "adapter": variant.adapter and variant.adapter.name, **variant.settings}
        for variant in variants
    }
    return {
        "name": plan.study,
        "about": study.about,
        "reference": study.reference,
        "variants": rows,
        "missing": dict(plan.missing),
    }


def _scorer(engine, backbone: Backbone, room: int, offline: bool) -> EngineScorer | WeightsScorer | None:
    """What computes likelihoods of at most `room` tokens; nothing where the model runs elsewhere."""
    if engine.name == "openai":
        return None
    if engine.name == "llamacpp":
        return EngineScorer(engine, room)
    if engine.name == "transformers":
        return WeightsScorer(lambda: engine.model, engine.tokenizer, room)

    def when_written():
        engine.rest()
        return backbones.load_model(backbone, offline=offline)

    return WeightsScorer(when_written, engine.tokenizer, room)


def _foreknown(backbone: Backbone, snapshot, targets: Sequence[Target]) -> list[str]:
    """What is to be said of tested reviews that backbone or embedder know already."""
    texts = [text for _, text in pairs_of(targets, snapshot)]
    return foreknown.notes(backbone, texts, "tested") + embedders.foreknown_notes(snapshot.embedder, texts, "tested")


def _embedder_here(store) -> tuple[object | None, list[str]]:
    """(the store's embedder, or None where it is not on this machine, what to say about that). No metric is worth a download."""
    try:
        return embedders.for_store(store.embedder, offline=True), []
    except DepError as error:
        return None, [f"no difference alignment: {error.message}"]
