"""`dep train`: from a store and a backbone to an adapter folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from depcli import backbones, methods
from depcli.adapters import files
from depcli.adapters.dep import DepAdapter, DepShape
from depcli.adapters.project import project
from depcli.atomic import write_atomically
from depcli.backbones.catalogue import Backbone
from depcli.engines.transformers import TransformersEngine
from depcli.errors import BadInput, DepError
from depcli.evaluation.metrics import meteor_mean
from depcli.evaluation.significance import paired_bootstrap
from depcli.evaluation.split import Split, Target, choose, leave_last_out, pairs_of
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import Template
from depcli.records import Sampling
from depcli.training import checkpoints
from depcli.training.card import write_card
from depcli.training.examples import Example, make_examples
from depcli.training.loop import Loop
from depcli.training.options import TrainOptions
from depcli.training.step import mean_loss, review_losses

_RESOLVED = {"learning_rate", "max_input_tokens", "micro_tokens", "template"}  # options whose chosen value is recorded instead


@dataclass(frozen=True)
class TrainReport:
    """What came out: the folder, and validation losses per target token (nats) of this adapter and of text alone."""

    folder: Path
    train_reviews: int
    validation_reviews: int
    parameters: int
    best_epoch: int
    losses: dict[str, float]  # dep, rag, nonperso on the same validation reviews
    seconds: float
    config: dict


def train(
    *, store, backbone: Backbone, folder: Path, options: TrainOptions, resume: bool = False, replace: bool = False,
    offline: bool = False, device: str = "auto", on_event: Callable[[dict], None] = lambda event: None,
) -> TrainReport:  # fmt: skip
    """Train a DEP adapter into `folder`. Events are plain dicts: {"note": text} or one step or validation.

    Raises DepError when the folder is taken, Incompatible when a resumed run was started otherwise, BadInput when the
    store has nothing to learn from.
    """
    _claim(folder, resume, replace)
    snapshot = store.snapshot(at=checkpoints.settings_of(folder)["store_commit"] if resume else None, as_of=options.as_of)
    split = leave_last_out(snapshot, targets_per_user=options.targets_per_user)
    model = backbones.load_model(backbone, device=device, offline=offline)
    tokenizer = backbones.load_tokenizer(backbone, offline=offline)
    fingerprint = backbones.fingerprint(backbone, model)
    before = backbones.weights_digest(model)
    template = Template(options.template or backbone.template)
    max_input = options.max_input_tokens or backbone.max_input_tokens
    rate, reason = options.rate_for(fingerprint["hidden_size"])
    on_event({"note": f"learning rate {rate:g}: {reason}"})
    micro_tokens = options.micro_tokens or (32768 if model.device.type == "cuda" else 4096)

    def examples(method: str, targets: list[Target]) -> list[Example]:
        builder = PromptBuilder(
            snapshot, methods.find(method), template, backbones.chat_of(tokenizer),
            lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
            k=options.history, max_input_tokens=max_input, held_out=split.held_out,
            min_peers=options.min_peers,
        )  # fmt: skip
        return make_examples(builder, tokenizer, pairs_of(targets, snapshot), options.max_target_tokens)

    prepared = [example for example in examples("dep", list(split.train)) if example.slots]
    if not prepared:
        raise BadInput("no review has a history to learn from", "ingest users with four reviews or more")
    validation = choose(split, "validation", options.validation_limit)
    checked = examples("dep", validation)
    without = len(split.train) - len(prepared)
    left_out = f"; {without:,} left out, no history" if without else ""
    on_event({"note": f"{len(prepared):,} reviews to learn, {len(checked):,} to validate{left_out}"})

    measured = {name: review_losses(model, None, examples(name, validation), micro_tokens) for name in ("nonperso", "rag")}
    losses = {name: float(nats.sum() / tokens.sum()) for name, (nats, tokens) in measured.items()}
    on_event({"note": "validation loss of text alone: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())})

    torch.manual_seed(options.seed)
    d = store.embedder.dimension
    shape = DepShape(d, options.latents or max(1, d // 2), fingerprint["hidden_size"], _token_norm(model))
    adapter = DepAdapter(shape).to(model.device)
    parameters = sum(p.numel() for p in adapter.parameters())
    settings = {
        "method": "dep", "backbone": fingerprint, "embedder": asdict(store.embedder),
        "template": template.name if template.bundled else template.source,
        "store_commit": snapshot.commit.id, "split": _describe(split), "learning_rate": rate, "max_input_tokens": max_input,
        **{key: value for key, value in asdict(options).items() if key not in _RESOLVED},
    }  # fmt: skip
    score = _scorer(model, tokenizer, checked, options, micro_tokens)
    loop = Loop(model, adapter, prepared, options, rate=rate, micro_tokens=micro_tokens, validate=score, folder=folder,
                settings=settings, on_event=on_event)  # fmt: skip
    if resume:
        loop.resume()
        on_event({"note": f"going on after step {loop.progress.step} of {loop.total_steps}"})
    else:
        shutil.rmtree(folder / files.CHECKPOINTS, ignore_errors=True)
        (folder / files.METRICS).unlink(missing_ok=True)
    progress = loop.run()

    nats, tokens = review_losses(model, adapter, checked, micro_tokens)
    losses["dep"] = float(nats.sum() / tokens.sum())
    gains = {name: asdict(paired_bootstrap(nats / tokens, other / tokens, tokens)) for name, (other, _) in measured.items()}
    if backbones.weights_digest(model) != before:
        raise RuntimeError("the backbone's weights changed during training")
    config = {
        **settings, "backbone_weights_sha256": before, "parameters": parameters, "train_reviews": len(prepared),
        "validation_reviews": len(checked), "best_epoch": progress.best_epoch, "validation_losses": losses, "dep_minus": gains,
        "validations": progress.validations, "seconds": round(progress.seconds, 1),
    }  # fmt: skip
    write_card(folder, config)
    (folder / files.TEMPLATE).unlink(missing_ok=True)
    if not template.bundled:
        write_atomically(folder / files.TEMPLATE, template.source.encode())
    files.save(folder, adapter, config)
    shutil.rmtree(folder / files.CHECKPOINTS)
    return TrainReport(folder, len(prepared), len(checked), parameters, progress.best_epoch, losses, progress.seconds, config)


def _claim(folder: Path, resume: bool, replace: bool) -> None:
    """Refuse to write over a finished or an unfinished run unless told to."""
    if resume:
        if not checkpoints.exists(folder):
            raise DepError(f"there is no unfinished run in {folder}", "leave --resume out to start one")
    elif replace:
        pass  # the old adapter stays whole until the new one is saved over it
    elif checkpoints.exists(folder):
        raise DepError(
            f"{folder} holds an unfinished run", "go on with --resume, start again with --replace, or name another --adapter"
        )
    elif (folder / files.CONFIG).exists():
        raise DepError(
            f"the adapter {folder.name!r} exists already", "name another with --adapter, or train it again with --replace"
        )


def _describe(split: Split) -> dict:
    return {
        "name": split.name,
        "digest": split.digest,
        "train": len(split.train),
        "validation": len(split.validation),
        "test": len(split.test),
    }


@torch.no_grad()
def _token_norm(model) -> float:
    """Mean L2 norm of the backbone's token embeddings."""
    return model.get_input_embeddings().weight.float().norm(dim=1).mean().item()


def _scorer(model, tokenizer, checked: list[Example], options: TrainOptions, micro_tokens: int) -> Callable[[object], dict]:
    """What is measured after each epoch, on the validation reviews: the loss, and METEOR when it decides."""
    if options.select_by == "meteor":
        meteor_mean(["a word"], ["a word"])  # without WordNet, fail now and not after an epoch

    def by_loss(adapter) -> dict:
        loss = mean_loss(model, adapter, checked, micro_tokens)
        return {"score": -loss, "loss": loss}

    def by_meteor(adapter) -> dict:
        engine = TransformersEngine(model, tokenizer, "the backbone")
        room = min(
            options.max_target_tokens,
            engine.context - max(len(example.encoded.ids) - example.encoded.targets for example in checked),
        )
        requests = (
            (project(adapter, example.prompt), Sampling(max_new_tokens=room, seed=i)) for i, example in enumerate(checked)
        )
        texts = [completion.text for completion in engine.generate(requests)]
        score = meteor_mean(texts, [example.answer for example in checked])
        return {**by_loss(adapter), "score": score, "meteor": score}

    return by_loss if options.select_by == "loss" else by_meteor
