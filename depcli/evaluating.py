"""`dep eval` as one call: a store, a backbone and the names of methods in, the results of an evaluation out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from depcli import backbones, engines
from depcli.adapters import files
from depcli.analysts.choose import analyst as asked_analyst
from depcli.backbones.catalogue import Backbone
from depcli.errors import Incompatible
from depcli.evaluation.likelihood import Scorer
from depcli.evaluation.run import evaluate
from depcli.evaluation.split import choose, leave_last_out
from depcli.methods import find
from depcli.personal.history import moment_text
from depcli.records import Sampling
from depcli.writing import make_writer

COMPARED = ("nonperso", "rag", "dep")


def evaluate_store(
    *,
    store,
    backbone: Backbone,
    method_names: Sequence[str],
    adapter_folder: Path | None,
    out: Path,
    sampling: Sampling,
    engine_name: str = "llamacpp",
    role: Literal["validation", "test"] = "test",
    limit: int | None = None,
    at: str | None = None,
    as_of: float | None = None,
    min_peers: int | None = None,
    analyst: str | None = None,
    offline: bool = False,
    device: str = "auto",
    on_event: Callable[[dict], None] = lambda event: None,
) -> dict:
    """Write and score the last (or second last) review of every user by each method; see evaluation.run.evaluate.

    An adapter is evaluated on the store commit, the moment and the split that it was trained on, so that nothing it learned is
    tested; a store that has grown since is noted, another `as_of`, `min_peers` or split raises Incompatible: also that of
    another commit asked for with `at` (id or number). Without an adapter only the reviews up to `as_of` (unix seconds) exist.
    Likelihoods are computed by transformers. `analyst` (ENGINE:MODEL) makes the profiles where the writer itself shall not.
    """
    config = None
    if any(find(name).needs_adapter for name in method_names) and adapter_folder is not None:
        config = files.read_config(adapter_folder)
        as_of = _moment(adapter_folder, config, as_of)
        min_peers = files.min_peers_of(adapter_folder, config, min_peers)
    snapshot = store.snapshot(at or (config["store_commit"] if config else None), as_of=as_of)
    if config and at is None and snapshot.commit.id != store.snapshot().commit.id:
        on_event({"note": f"evaluating commit {snapshot.commit.id}, which the adapter was trained on; the store has grown since"})
    split = leave_last_out(snapshot, targets_per_user=config["targets_per_user"] if config else 1)
    if config and split.digest != config["split"]["digest"]:
        raise Incompatible(
            f"adapter {adapter_folder.name!r} was trained on another split ({config['split']['name']}) of this store",
            "evaluate the store that it was trained on, or train an adapter on this one",
        )
    targets = choose(split, role, limit, sampling.seed)
    with (
        engines.load(engine_name, backbone, offline=offline, device=device) as engine,
        asked_analyst(analyst, engine, backbone, sampling, offline=offline, device=device) as asked,
    ):
        if engine_name == "transformers":
            model, tokenizer = engine.model, engine.tokenizer
        else:
            model = backbones.load_model(backbone, offline=offline, device=device)
            tokenizer = backbones.load_tokenizer(backbone, offline=offline)
        history = config["history"] if config else 8
        writers = {
            name: make_writer(
                store=store,
                snapshot=snapshot,
                method=name,
                backbone=backbone,
                engine=engine,
                adapter_folder=adapter_folder,
                held_out=split.held_out,
                history=history,
                min_peers=min_peers,
                analyst=asked,
            )
            for name in method_names
        }
        # What every prompt leaves: all methods are scored on the same tokens of a long review.
        room = min(2048, engine.context - max(writer.builder.max_input_tokens for writer in writers.values()))
        settings = {
            "backbone": backbones.fingerprint(backbone, model),
            "engine": engine_name,
            "role": role,
            "history": history,
            "as_of": as_of,
            "min_peers": min_peers,
            "analyst": asked.name if analyst else None,
            "adapter": config
            and {key: config[key] for key in ("store_commit", "split", "seed", "best_epoch", "validation_losses")},
        }
        return evaluate(
            snapshot=snapshot,
            split=split,
            targets=targets,
            methods=writers,
            scorer=Scorer(model, tokenizer, room),
            sampling=sampling,
            out=out,
            settings=settings,
            on_progress=on_event,
        )


def _moment(folder: Path, config: dict, asked: float | None) -> float | None:
    """The moment that an adapter was trained as of; None when it learned from all reviews."""
    trained = config.get("as_of")  # adapters made before there was a choice lack it
    if asked not in (None, trained):
        learned = "all reviews of its store" if trained is None else f"the reviews up to {moment_text(trained)}"
        raise Incompatible(
            f"adapter {folder.name!r} was trained on {learned}, not on those up to {moment_text(asked)}",
            "leave --as-of out, or train another: dep train --as-of",
        )
    return trained
