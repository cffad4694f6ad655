"""`dep train`: from a store and a backbone to an adapter folder."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from depcli import backbones, embedders
from depcli.adapters import files, seen
from depcli.backbones import foreknown
from depcli.backbones.catalogue import Backbone
from depcli.evaluation.statistics.significance import drawn, paired_bootstrap
from depcli.personal.template import Template
from depcli.splits.split import choose, pairs_of
from depcli.system.atomic import write_atomically
from depcli.training import checkpoints
from depcli.training.card import write_card
from depcli.training.hardware import HERE, Hardware
from depcli.training.loop import Loop
from depcli.training.options import TrainOptions
from depcli.training.place import alone, check_readable, claim
from depcli.training.prepared import Prepared, per_token
from depcli.training.workers import join
from depcli.words import count


@dataclass(frozen=True)
class TrainReport:
    """What came out: the folder, and validation losses per target token (nats) of this adapter and of text alone."""

    folder: Path
    train_reviews: int
    validation_reviews: int
    parameters: int
    best_epoch: int
    losses: dict[str, float]  # of the method, nonperso and, where past texts are shown, rag on the same validation reviews
    seconds: float
    config: dict


@alone
def train(
    *,
    store,
    backbone: Backbone,
    folder: Path,
    options: TrainOptions,
    resume: bool = False,
    replace: bool = False,
    offline: bool = False,
    hardware: Hardware = HERE,
    at: str | None = None,
    embedder=None,
    on_event: Callable[[dict], None] = lambda event: None,
) -> TrainReport:
    """Train an adapter into `folder`, on the newest commit or on the one that `at` names (id or number). Events are plain dicts:
    {"note": text} or one step or validation. `embedder` is the store's, loaded if the method needs it. Started by torchrun, the
    processes train together; the first one writes and has the events.

    Raises DepError when the folder is taken or in use, Incompatible when a resumed run was started otherwise, BadInput when the
    store has nothing to learn from, OutOfMemory, WorkerLost.
    """
    workers, device = join(hardware.device)
    hardware = dataclasses.replace(hardware, device=device)
    on_event = on_event if workers.is_first else lambda event: None
    begun = checkpoints.settings_of(folder) if resume else None
    if not resume and not replace:  # an adapter that is replaced stays whole until the new one is saved over it
        claim(folder)
    commit = at or (begun and begun["store_commit"])
    if begun:
        check_readable(store, folder, begun["store_commit"])
    if workers.is_first:
        backbones.weights_folder(backbone, offline=offline)  # what has to be fetched, one fetches
    workers.wait()
    embedder = embedder or embedders.for_queries([options.method], store, retrieval=options.choices.retrieval, offline=offline)
    run = Prepared(
        store,
        backbone,
        options,
        commit,
        offline=offline,
        hardware=hardware,
        workers=workers,
        on_event=on_event,
        embedder=embedder,
    )
    if begun:
        checkpoints.check_same(begun, run.settings)
    on_event({"note": f"learning rate {run.rate:g}: {'as the run was begun' if begun else run.rate_reason}"})

    learned = run.learned()
    targets = choose(run.split, "validation", options.validation_limit)
    checked = run.examples(options.method, targets)
    without = len(run.to_learn) - len(learned)
    left_out = f"; {without:,} left out: no vectors before them (no reviews, or too few other reviewers)" if without else ""
    on_event({"note": f"{count(len(learned), 'review')} to learn, {len(checked):,} to validate{left_out}"})
    texts, what = [text for _, text in pairs_of(targets, run.snapshot)], "validation"
    for note in foreknown.notes(backbone, texts, what) + embedders.foreknown_notes(store.embedder, texts, what):
        on_event({"note": note})

    adapter, beside = run.new_adapter(learned), run.text_alone(targets)
    for note in run.plan(adapter, learned, checked, [example for examples in beside.values() for example in examples]):
        on_event({"note": note})
    text_alone = {name: run.losses(None, examples) for name, examples in beside.items()}
    losses = {name: per_token(*found) for name, found in text_alone.items()}
    on_event({"note": "validation loss of text alone: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())})
    loop = Loop(
        run.model,
        adapter,
        learned,
        options,
        rate=run.rate,
        budget=run.budget,
        validate=run.scorer(checked),
        folder=folder,
        settings=run.settings,
        on_event=on_event,
        workers=workers,
    )
    if resume:
        loop.resume()
        on_event({"note": f"going on after step {loop.progress.step} of {loop.total_steps}"})
    elif workers.is_first:
        shutil.rmtree(folder / files.CHECKPOINTS, ignore_errors=True)
        (folder / files.METRICS).unlink(missing_ok=True)
    progress = loop.run()
    if run.digest() != run.weights_sha256:
        raise RuntimeError("the backbone's weights changed during training")

    nats, tokens = run.losses(adapter, checked)
    losses[options.method] = per_token(nats, tokens)
    users = [target.user_id for target in targets]
    gains = {
        name: asdict(paired_bootstrap(nats / tokens, other / tokens, tokens, drawn(users)))
        for name, (other, _) in text_alone.items()
    }
    config = {
        **run.settings,
        "backbone_weights_sha256": run.weights_sha256,
        "parameters": sum(parameter.numel() for parameter in adapter.parameters()),
        "train_reviews": len(learned),
        "validation_reviews": len(checked),
        "validation_users": len(set(users)),
        "best_epoch": progress.best_epoch,
        "validation_losses": losses,
        "minus": gains,
        "validations": progress.validations,
        "seconds": round(progress.seconds, 1),
        seen.KEY: seen.record(target.user_id for target in (*run.to_learn, *targets)),
    }
    if workers.is_first:
        _save(folder, run.template, adapter, config)
    return TrainReport(
        folder, len(learned), len(checked), config["parameters"], progress.best_epoch, losses, progress.seconds, config
    )


def _save(folder: Path, template: Template, adapter, config: dict) -> None:
    """The adapter with its card and, where it is not a bundled one, its template; the checkpoints go once it is whole."""
    write_card(folder, config)
    (folder / files.TEMPLATE).unlink(missing_ok=True)
    if not template.bundled:
        write_atomically(folder / files.TEMPLATE, template.source.encode())
    files.save(folder, adapter, config)
    shutil.rmtree(folder / files.CHECKPOINTS)
