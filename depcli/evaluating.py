"""`dep eval` as one call: a store, a backbone and the names of methods in, the results of an evaluation out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from depcli import backbones, embedders, engines
from depcli.adapters import files
from depcli.analysts.choose import analyst as asked_analyst
from depcli.backbones.catalogue import Backbone
from depcli.errors import DepError, Incompatible, NotFound
from depcli.evaluation import splits
from depcli.evaluation.leakage import check_adapters
from depcli.evaluation.likelihood import Scorer
from depcli.evaluation.page import write_page
from depcli.evaluation.run import evaluate
from depcli.evaluation.split import Split, choose
from depcli.methods import find
from depcli.personal.history import moment_text
from depcli.records import Sampling
from depcli.writing import HISTORY, make_writer

COMPARED = ("nonperso", "rag", "dep")
_TOLD = ("store_commit", "split", "seed", "history", "best_epoch", "validation_losses")  # of an adapter


def evaluate_store(
    *,
    store,
    backbone: Backbone,
    method_names: Sequence[str],
    adapters: Mapping[str, Path],
    out: Path,
    sampling: Sampling,
    engine_name: str = "llamacpp",
    split: str | None = None,
    role: Literal["validation", "test"] = "test",
    limit: int | None = None,
    seeds: int = 1,
    swap: bool = False,
    report: Path | None = None,
    at: str | None = None,
    as_of: float | None = None,
    min_peers: int | None = None,
    history: int | None = None,
    analyst: str | None = None,
    choices: dict | None = None,
    embedder=None,
    offline: bool = False,
    device: str = "auto",
    tensor_parallel: int = 1,
    on_event: Callable[[dict], None] = lambda event: None,
) -> dict:
    """Write and score the reviews of a role of the `split` (see evaluation.splits; by default each user's last) by each method,
    with `seeds` sampling seeds and, if `swap`, a swap test; see evaluation.run.evaluate. `report` is where a page (HTML) is to
    be written about it.

    `adapters` are the folders of the methods with soft tokens. They are evaluated on the store commit, the moment and the split
    that they were trained on, so that nothing they learned is tested; a store that has grown since is noted, another `as_of`,
    `min_peers`, `history` or `split` raises Incompatible: also that of another commit asked for with `at` (id or number), and
    that of another adapter. Without an adapter only the reviews up to `as_of` (unix seconds) exist. Text-only methods show
    `history` past reviews at most, by default as many as the first adapter does. Likelihoods are computed by transformers; an
    endpoint gives none. `analyst` (ENGINE:MODEL) makes the profiles where the writer itself shall not; `embedder` is the
    store's, loaded if need be, and for difference alignment where it is on this machine. `choices` are fields of
    personal.choices.Choices that are asked for: an adapter brings its own, and text-only methods retrieve as the first one
    does.
    """
    adapters = {name: adapters[name] for name in method_names if find(name).needs_adapter and name in adapters}
    configs = {name: files.read_config(folder) for name, folder in adapters.items()}
    for name, config in configs.items():
        files.check_method(adapters[name], config, name)
        files.min_peers_of(adapters[name], config, min_peers)
        files.history_of(adapters[name], config, history)
    config = next(iter(configs.values()), None)
    as_of = _moment(adapters, configs, as_of)
    asked_for = choices or {}
    retrieval = asked_for.get("retrieval") or (config or {}).get("choices", {}).get("retrieval")
    snapshot = _snapshot(store, at, adapters, config, as_of)
    if config and at is None and snapshot.commit.id != store.snapshot().commit.id:
        on_event({"note": f"evaluating commit {snapshot.commit.id}, which the adapter was trained on; the store has grown since"})
    split = _split(snapshot, adapters, configs, split)
    targets = choose(split, role, limit, sampling.seed)
    with (
        engines.load(engine_name, backbone, offline=offline, device=device, tensor_parallel=tensor_parallel) as engine,
        asked_analyst(analyst, engine, backbone, sampling, offline=offline, device=device) as asked,
    ):
        model, tokenizer = _weights(engine, backbone, offline, device)
        floor = min_peers or (config and config.get("min_peers"))  # as the first adapter: profiles too
        shown = history if history is not None else config["history"] if config else HISTORY
        embedder = embedder or embedders.for_queries(method_names, store, retrieval=retrieval, offline=offline)
        measuring, notes = (embedder, []) if embedder else _embedder_here(store)
        writers = {
            name: make_writer(
                store=store,
                snapshot=snapshot,
                method=name,
                backbone=backbone,
                engine=engine,
                adapter_folder=adapters.get(name),
                held_out=split.held_out,
                history=None if name in adapters else shown,
                min_peers=min_peers if name in adapters else floor,
                analyst=asked,
                embedder=embedder,
                choices=asked_for if name in adapters else {"retrieval": retrieval, **asked_for},
            )
            for name in method_names
        }
        # What every prompt leaves: all methods are scored on the same tokens of a long review.
        room = min(2048, engine.context - max(writer.builder.max_input_tokens for writer in writers.values()))
        settings = {
            "backbone": backbones.fingerprint(backbone, model) if model else engine.identity,
            "engine": engine_name,
            "role": role,
            "history": shown,
            "as_of": as_of,
            "min_peers": floor,
            "choices": {name: asdict(writer.builder.choices) for name, writer in writers.items()},
            "analyst": asked.name if analyst else None,
            "adapters": {name: {key: found[key] for key in _TOLD} for name, found in configs.items()},
        }
        results = evaluate(
            snapshot=snapshot,
            split=split,
            targets=targets,
            methods=writers,
            scorer=Scorer(model, tokenizer, room) if model else None,
            sampling=sampling,
            out=out,
            settings=settings,
            seeds=seeds,
            embedder=measuring,
            strangers_from=getattr(split, role) if swap else (),
            notes=notes,
            on_progress=on_event,
        )
    if report:
        write_page(report, results, out, snapshot)
    return results


def _weights(engine, backbone: Backbone, offline: bool, device: str) -> tuple:
    """(model, tokenizer) to compute likelihoods with; nothing where the model runs elsewhere."""
    if engine.name == "openai":
        return None, None
    if engine.name == "transformers":
        return engine.model, engine.tokenizer
    model = backbones.load_model(backbone, offline=offline, device=device)
    return model, backbones.load_tokenizer(backbone, offline=offline)


def _embedder_here(store) -> tuple[object | None, list[str]]:
    """(the store's embedder, or None where it is not on this machine, what to say about that). No metric is worth a download."""
    try:
        return embedders.for_store(store.embedder, offline=True), []
    except DepError as error:
        return None, [f"no difference alignment: {error.message}"]


def _moment(adapters: Mapping[str, Path], configs: Mapping[str, dict], asked: float | None) -> float | None:
    """The moment that these adapters were trained as of, else the one that was asked for; None for all reviews."""
    moments = {name: config.get("as_of") for name, config in configs.items()}  # older adapters, without a choice, lack it
    for name, trained in moments.items():
        if asked not in (None, trained):
            raise Incompatible(
                f"adapter {adapters[name].name!r} was trained on {_reviews_of(trained)}, not on those up to {moment_text(asked)}",
                "leave --as-of out, or train another: dep train --as-of",
            )
    if len(set(moments.values())) > 1:
        each = "; ".join(f"{adapters[name].name!r} on {_reviews_of(trained)}" for name, trained in moments.items())
        raise Incompatible(f"the adapters were not trained on the same reviews: {each}", "evaluate them one by one")
    return next(iter(moments.values()), asked)


def _split(snapshot, adapters: Mapping[str, Path], configs: Mapping[str, dict], asked: str | None) -> Split:
    """The split that is asked for, else the one that the first adapter was trained on, which has to be that of all."""
    config = next(iter(configs.values()), {"split": {"name": splits.LEAVE_LAST_OUT}, "targets_per_user": 1})
    split = splits.make(snapshot, asked or config["split"]["name"], targets_per_user=config["targets_per_user"])
    for name, trained in ((adapters[method].name, config["split"]) for method, config in configs.items()):
        if trained["name"] != split.name:
            raise Incompatible(
                f"adapter {name!r} was trained on the split {trained['name']}, not on {split.name}: it may have learned what "
                "would be tested",
                f"evaluate it with --split {trained['name']}, or train another: dep train --split {split.name} --adapter NAME",
            )
        if trained["digest"] != split.digest:
            raise Incompatible(
                f"adapter {name!r} was trained on another split ({trained['name']}) of this store",
                "evaluate the store that it was trained on, or train an adapter on this one",
            )
    check_adapters(split, {adapters[method].name: config for method, config in configs.items()})
    return split


def _reviews_of(moment: float | None) -> str:
    return "all reviews of its store" if moment is None else f"the reviews up to {moment_text(moment)}"


def _snapshot(store, at: str | None, adapters: dict, config: dict | None, as_of: float | None):
    """The store as the adapters saw it, unless a commit is named."""
    try:
        return store.snapshot(at or (config["store_commit"] if config else None), as_of=as_of)
    except NotFound as error:
        if at is not None:
            raise
        names = " and ".join(sorted(folder.name for folder in adapters.values()))
        hint = f"train it again on what the store holds now: dep train --replace --adapter {names}"
        raise NotFound(f"{names} was trained on a state of the store that is gone: {error.message}", hint) from error
