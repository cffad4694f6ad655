"""`dep train`: an adapter for a frozen backbone."""

from __future__ import annotations

from dataclasses import replace as replaced

import click

from depcli.cli.options.choices import choose_parts
from depcli.cli.options.common import (
    BACKBONE_HELP,
    TRAINED,
    Finite,
    MethodChoice,
    Setting,
    agree_to_download,
    at_commit,
    every_command,
    may_download,
    query_embedder,
)
from depcli.cli.options.moment import as_of_moment, tell_moment
from depcli.cli.options.preset import choose_preset, tell_preset
from depcli.cli.options.split import choose_split
from depcli.cli.sink import Sink
from depcli.words import count

_NO_LOSS = {"step", "steps", "epoch", "seconds", "tokens_per_second", "grad_norm", "learning_rate"}
_AT_LEAST_1 = click.IntRange(min=1)


@click.command("train")
@choose_preset(training=True)
@click.option("--method", type=MethodChoice(TRAINED), help="What the adapter is for. [default: dep]")
@click.option("--backbone", metavar="NAME", help=f"{BACKBONE_HELP} [default: mini]")
@click.option("--adapter", metavar="NAME", help="Name of the adapter. [default: the backbone's, with the method if not dep]")
@click.option("--epochs", type=_AT_LEAST_1, help="At most so many passes over the reviews. [default: 1]")
@click.option("--resume", is_flag=True, help="Go on with the run that was interrupted, with its own options.")
@click.option("--replace", is_flag=True, help="Train again over an adapter of this name.")
@choose_split("leave-last-out")
@click.option("--targets-per-user", type=_AT_LEAST_1, metavar="N", help="Reviews to learn from each user. [default: 8]")
@click.option("--limit", type=_AT_LEAST_1, metavar="N", help="Learn so many reviews at most, always the same. [default: all]")
@click.option("--select-by", type=click.Choice(["loss", "meteor"]), help="What decides the best epoch. [default: loss]")
@click.option("--batch-size", type=_AT_LEAST_1, metavar="N", help="Reviews per step. [default: 16]")
@click.option("--learning-rate", type=Finite(0, 1, min_open=True), help="[default: by what is trained and the backbone]")
@click.option("--history", type=_AT_LEAST_1, metavar="K", help="Past reviews in a prompt at most. [default: 8]")
@click.option("--max-input-tokens", type=_AT_LEAST_1, metavar="N", help="Longest prompt. [default: the backbone's]")
@click.option(
    "--template", metavar="NAME", help="full, compact[-user-first|-vectors], or a .jinja file. [default: the backbone's]"
)
@click.option("--min-peers", type=_AT_LEAST_1, metavar="N", help="A difference from fewer peers is not used. [default: 1]")
@choose_parts
@click.option(
    "--reduction",
    type=click.Choice(["pca", "sae", "ae", "none"]),
    help="Of DEP's embeddings: principal components added to vectors that all share, or as in the paper a sparse autoencoder, an "
    "autoencoder, none. [default: pca]",
)
@as_of_moment
@click.option("--seed", type=click.IntRange(min=0), help="[default: 0]")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda.")
@click.option(
    "--backbone-precision",
    "precision",
    type=click.Choice(["bf16", "fp8", "int8", "int4"]),
    help="Of the frozen weights. int8 and int4 need bitsandbytes. [default: bf16 on a GPU, else float32]",
)
@click.option("--checkpointing", is_flag=True, help="Much less memory for half more work.")
@click.option(
    "--shard-backbone",
    "shard",
    is_flag=True,
    help="Spread the frozen weights over torchrun's workers. [default: when a device cannot hold them]",
)
@at_commit
@may_download
@every_command
def command(
    setting: Setting,
    method: str | None,
    backbone: str | None,
    adapter: str | None,
    resume: bool,
    replace: bool,
    device: str,
    precision: str | None,
    checkpointing: bool,
    shard: bool,
    at: str | None,
    choices: dict,
    preset: str | None,
    **values,
) -> None:
    """Train an adapter on the reviews in the store. The backbone stays as it is.

    Of each user the last review is kept for testing, the one before for validation, and the eight before that are learned, or
    --targets-per-user; --split keeps back other reviews, or all of some users.
    Interrupted, it goes on with --resume as if nothing had happened. The adapter comes with a card of its numbers.

    \b
    Examples:
      dep train
      dep train --backbone qwen2.5-1.5b --adapter first --targets-per-user 3
      dep train --adapter first --resume
      dep train --method pplug
      dep train --split unseen-users --adapter unseen
      dep train --adapter his-only --embeddings his
      dep train --preset dep-paper --backbone qwen2.5-1.5b
      torchrun --nproc-per-node 2 -m depcli train --backbone qwen2.5-7b
    """
    from depcli import backbones
    from depcli.adapters.files import folder_of
    from depcli.adapters.trained_for import backbone_of
    from depcli.store import Store
    from depcli.training.checkpoints import settings_of
    from depcli.training.hardware import Hardware
    from depcli.training.options import options_of
    from depcli.training.place import unfinished_run
    from depcli.training.run import train
    from depcli.training.workers import launched_rank

    if resume and replace:
        raise click.UsageError("--resume goes on with a run and --replace begins it again: name one of them.")
    speaks = launched_rank() == 0  # torchrun: the others work in silence
    setting = setting if speaks else replaced(setting, offline=True, sink=Sink(quiet=True))
    sink = setting.sink
    store, found = Store.open(setting.profiles), backbones.find(backbone or "mini")
    default = found.name.rpartition("/")[2] + ("" if method in (None, "dep") else f"-{method}")
    name = adapter or default
    if resume:
        name = unfinished_run(setting.profiles, name, named=bool(adapter or backbone or method))
    folder = folder_of(setting.profiles, name)
    begun = settings_of(folder) if resume else None
    if begun and not backbone:
        found, _ = backbone_of(folder, begun)
    named = {name: value for name, value in {"method": method, **values}.items() if value is not None}
    options = options_of(named, choices, begun)
    precision = precision or (begun or {}).get("backbone_precision")
    told = tell_preset(sink, preset, store=store, backbone=found)
    if speaks:
        agree_to_download(setting, found, "weights")
    embedder = query_embedder(setting, store, [options.method], options.choices.retrieval) if speaks else None
    sink.note(f"adapter {folder.name} of {options.method} for the backbone {found.name}, in {folder}")
    tell_moment(sink, options.as_of)
    with sink.progress("training") as update:
        report = train(
            store=store,
            backbone=found,
            folder=folder,
            options=options,
            resume=resume,
            replace=replace,
            offline=setting.offline,
            hardware=Hardware(device, precision, checkpointing, shard),
            at=at,
            embedder=embedder,
            on_event=lambda event: show_event(sink, update, event),
        )
    document = {
        "adapter": folder.name,
        "method": options.method,
        "folder": str(folder),
        "train_reviews": report.train_reviews,
        "validation_reviews": report.validation_reviews,
        "parameters": report.parameters,
        "best_epoch": report.best_epoch,
        "validation_losses": report.losses,
        "seconds": report.seconds,
        "config": report.config,
        **told,
    }
    if speaks:
        sink.result(document, lambda: _show(sink, document))


def show_event(sink, update, event: dict) -> None:
    """One event of a training run: a note, what holds it up, a step for the bar, or the validation of an epoch."""
    if note := event.get("note") or event.get("held_up"):
        sink.note(note)
    elif "preparing" in event:
        update(event["done"], event["of"], event["preparing"])
    elif "steps" in event:
        terms = {name: event[name] for name in event if name not in _NO_LOSS}
        if len(terms) == 2:  # nothing is added to the loss of generation: it is the loss
            del terms["gen"]
        losses = "  ".join(f"{name} {value:.3g}" for name, value in terms.items())
        speed = f"{event['tokens_per_second']:,.0f} tokens/s"
        update(event["step"], event["steps"], f"steps, epoch {event['epoch'] + 1}  {losses}  {speed}")
    else:
        scores = (f"{name} {event[f'validation_{name}']:.4f}" for name in ("loss", "meteor") if f"validation_{name}" in event)
        sink.note(f"epoch {event['epoch'] + 1}: validation {', '.join(scores)}")


def _show(sink, document: dict) -> None:
    from depcli.evaluation.report.notes import cautions
    from depcli.training.card import interval_text

    sink.line(f"adapter {document['adapter']}, {document['parameters']:,} parameters: {document['folder']}")
    sink.line(f"{count(document['train_reviews'], 'review')} learned in {document['seconds']:.0f} s")
    sink.line(f"loss per token (nats) of {count(document['validation_reviews'], 'validation review')}, lower is better:")
    gains = document["config"]["minus"]
    losses = document["validation_losses"]
    rows = [(name, f"{losses[name]:.4f}", interval_text(gains[name]) if name in gains else "") for name in losses]
    sink.table(("method", "loss", f"{document['method']} minus it, 95 % interval"), rows)
    if worse := [name for name, gain in gains.items() if gain["low"] is not None and gain["low"] > 0]:
        sink.note(f"worse than {' and '.join(worse)}: the interval lies above 0")
    if unshown := [name for name, gain in gains.items() if name not in worse and (gain["high"] is None or gain["high"] >= 0)]:
        why = "of one review there is none" if gains[unshown[0]]["low"] is None else "the interval holds 0"
        sink.note(f"not shown to be better than {' or '.join(unshown)}: {why}")
    if document["config"]["epochs"] > 1 and gains:
        sink.note("the interval flatters the adapter a little: its epoch was chosen on these reviews")
    for caution in cautions(document["config"]["validation_users"], document["validation_reviews"]) if gains else ():
        sink.note(caution)
    option = "" if document["method"] == "dep" else f" --method {document['method']}"
    sink.note(f"next: dep write --user U --item ITEM{option} --adapter {document['adapter']}, or dep eval")
