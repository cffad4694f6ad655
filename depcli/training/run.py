"""`dep train`: from a store and a backbone to an adapter folder."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from depcli import backbones, embedders, methods
from depcli.adapters import files, seen, trained_for
from depcli.adapters.project import project
from depcli.atomic import write_atomically
from depcli.backbones.catalogue import Backbone
from depcli.backbones.fused import fuse
from depcli.backbones.passes import checkpoint_layers
from depcli.engines.transformers import TransformersEngine
from depcli.errors import BadInput
from depcli.evaluation import splits
from depcli.evaluation.leakage import CHECKED, check_differences, check_leakage, check_shown
from depcli.evaluation.metrics import meteor_mean
from depcli.evaluation.significance import paired_bootstrap
from depcli.evaluation.split import Split, Target, choose, pairs_of
from depcli.permissions import make_private
from depcli.personal.choices import Choices
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import GUIDED, Template
from depcli.records import Sampling
from depcli.training import checkpoints
from depcli.training.backbone import load_backbone
from depcli.training.budget import Budget
from depcli.training.card import write_card
from depcli.training.estimate import estimate
from depcli.training.examples import Example, make_examples
from depcli.training.hardware import HERE, ONLY_WHOLE, Hardware
from depcli.training.loop import Loop
from depcli.training.options import TrainOptions
from depcli.training.place import alone, check_readable, claim
from depcli.training.shards import Shards
from depcli.training.step import review_losses
from depcli.training.workers import Workers, join
from depcli.words import count

# options whose chosen value is recorded instead
_RESOLVED = {"learning_rate", "max_input_tokens", "max_target_tokens", "micro_tokens", "split", "template"}


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
    *, store, backbone: Backbone, folder: Path, options: TrainOptions, resume: bool = False, replace: bool = False,
    offline: bool = False, hardware: Hardware = HERE, at: str | None = None, embedder=None,
    on_event: Callable[[dict], None] = lambda event: None,
) -> TrainReport:  # fmt: skip
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
    embedder = embedder or embedders.for_queries(
        [options.method], store, retrieval=options.choices.retrieval, offline=offline
    )  # fmt: skip
    run = _Run(store, backbone, options, commit, offline=offline, hardware=hardware, workers=workers, on_event=on_event,
               embedder=embedder)  # fmt: skip
    if begun:
        checkpoints.check_same(begun, run.settings)
    on_event({"note": f"learning rate {run.rate:g}: {'as the run was begun' if begun else run.rate_reason}"})

    learned = run.learned()
    targets = choose(run.split, "validation", options.validation_limit)
    checked = run.examples(options.method, targets)
    without = len(run.split.train) - len(learned)
    left_out = f"; {without:,} left out, no history" if without else ""
    on_event({"note": f"{count(len(learned), 'review')} to learn, {len(checked):,} to validate{left_out}"})

    text_alone = {name: run.losses(None, examples) for name, examples in run.text_alone(targets).items()}
    losses = {name: _per_token(*found) for name, found in text_alone.items()}
    on_event({"note": "validation loss of text alone: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())})

    adapter = run.new_adapter(learned)
    for note in run.plan(adapter, learned, checked):
        on_event({"note": note})
    loop = Loop(run.model, adapter, learned, options, rate=run.rate, budget=run.budget, validate=run.scorer(checked),
                folder=folder, settings=run.settings, on_event=on_event, workers=workers)  # fmt: skip
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
    losses[options.method] = _per_token(nats, tokens)
    users = [target.user_id for target in targets]
    gains = {
        name: asdict(paired_bootstrap(nats / tokens, other / tokens, tokens, users)) for name, (other, _) in text_alone.items()
    }
    config = {
        **run.settings, **trained_for.record(backbone), "backbone_weights_sha256": run.weights_sha256,
        "parameters": sum(parameter.numel() for parameter in adapter.parameters()),
        "train_reviews": len(learned), "validation_reviews": len(checked), "best_epoch": progress.best_epoch,
        "validation_losses": losses, "minus": gains, "validations": progress.validations,
        "seconds": round(progress.seconds, 1),
        seen.KEY: seen.record(target.user_id for target in (*run.split.train, *targets)),
    }  # fmt: skip
    if workers.is_first:
        _save(folder, run.template, adapter, config)
    return TrainReport(
        folder, len(learned), len(checked), config["parameters"], progress.best_epoch, losses, progress.seconds, config
    )


class _Run:
    """What one training works with: a split of the store, a frozen backbone, and the options with every gap filled.

    `settings` is what a resumed run must have in common with its first part, and what the adapter's configuration begins with.
    """

    def __init__(
        self, store, backbone: Backbone, options: TrainOptions, commit: str | None, *, offline: bool, hardware: Hardware,
        workers: Workers, on_event: Callable[[dict], None], embedder,
    ):  # fmt: skip
        self.options, self.embedder, self.workers = options, embedder, workers
        self.snapshot = store.snapshot(at=commit, as_of=options.as_of)
        self.split = splits.make(self.snapshot, options.split, targets_per_user=options.targets_per_user)
        check_leakage(self.split)
        self.model, workers.weights = load_backbone(backbone, hardware, workers, offline=offline, on_event=on_event)
        self.hardware = dataclasses.replace(hardware, shard=isinstance(workers.weights, Shards))
        if self.model.device.type == "cuda" and not self.hardware.shard and hardware.precision not in ONLY_WHOLE:
            fuse(self.model)
        if hardware.checkpointing:
            checkpoint_layers(self.model)
        self.tokenizer = backbones.load_tokenizer(backbone, offline=offline)
        self.weights_sha256 = self.digest()
        self.template = Template(options.template or backbone.template)
        if not (options.choices.guidance or self.template.has_guidance()):
            message = f"the template {self.template.name} has no guidance that could be left out"
            raise BadInput(message, f"leave --no-guidance out, or take one that has it: --template {GUIDED}")
        context = self.model.config.max_position_embeddings
        self.max_input_tokens = options.max_input_tokens or backbone.prompt_budget(context)
        self.max_target_tokens = min(options.max_target_tokens, context - self.max_input_tokens)
        if self.max_target_tokens < 1:
            message = f"prompts of {self.max_input_tokens:,} tokens leave no room for a review: {backbone.name} holds {context:,}"
            raise BadInput(message, f"--max-input-tokens {context // 2}")
        micro_tokens = options.micro_tokens or (32768 if self.model.device.type == "cuda" else 4096)
        self.budget = Budget(micro_tokens, self.hardware, on_event, workers)
        self.rate, self.rate_reason = options.rate_for(self.model.config.hidden_size)
        self.settings = {
            "backbone": backbones.fingerprint(backbone, self.model), "embedder": asdict(store.embedder),
            "template": self.template.name if self.template.bundled else self.template.source,
            "store_commit": self.snapshot.commit.id, "split": _describe(self.split), "learning_rate": self.rate,
            "max_input_tokens": self.max_input_tokens, "max_target_tokens": self.max_target_tokens,
            **{key: value for key, value in asdict(options).items() if key not in _RESOLVED},
            **({"backbone_precision": hardware.precision} if hardware.precision else {}),
        }  # fmt: skip

    def digest(self) -> str:
        """Of the backbone's weights as they are now."""
        return backbones.weights_digest(self.model, self.workers.weights.hold_parameter)

    def learned(self) -> list[Example]:
        """The examples to learn from: those with a history. Raises BadInput when there are none."""
        examples = [
            example for example in self.examples(self.options.method, self.split.train)
            if example.slots and (example.prompt.shown or example.prompt.pooled)
        ]  # fmt: skip
        if not examples:
            raise BadInput("no review has a history to learn from", "ingest users with four reviews or more")
        return examples

    def examples(self, method: str, targets: Sequence[Target], choices: Choices | None = None) -> list[Example]:
        """What a method makes of these targets, with the `choices` of the adapter or others."""
        choices = choices or self.options.choices
        builder = PromptBuilder(
            self.snapshot, methods.find(method), self.template, backbones.chat_of(self.tokenizer),
            lambda text: len(self.tokenizer(text, add_special_tokens=False)["input_ids"]),
            k=self.options.history, max_input_tokens=self.max_input_tokens, held_out=self.split.held_out,
            min_peers=self.options.min_peers, choices=choices, embed=self.embedder.encode if self.embedder else None,
        )  # fmt: skip
        examples = make_examples(builder, self.tokenizer, pairs_of(targets, self.snapshot), self.max_target_tokens)
        for target, example in zip(targets, examples, strict=True):
            check_shown(target, example.prompt)
        first = [example.prompt for example in examples[:CHECKED]]
        weighted = choices.peer_weighting == "distance"
        check_differences(first, self.snapshot, self.split.held_out, weighted=weighted)
        return examples

    def text_alone(self, targets: Sequence[Target]) -> dict[str, list[Example]]:
        """What the adapter is compared with: nonperso, and rag unless the template shows no past review as text. Their texts are
        there also where an adapter does without."""
        choices = dataclasses.replace(self.options.choices, review_text=True)
        nonperso, rag = (self.examples(name, targets, choices) for name in ("nonperso", "rag"))
        told_apart = any(one.prompt.parts != other.prompt.parts for one, other in zip(nonperso, rag, strict=True))
        return {"nonperso": nonperso, **({"rag": rag} if told_apart else {})}

    def losses(self, adapter, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
        """(nats (n,), target tokens (n,)) of each example; `adapter` None for text alone."""
        return self.budget.spend(lambda tokens: review_losses(self.model, adapter, examples, tokens, self.workers), examples)

    def new_adapter(self, learned: Sequence[Example]) -> torch.nn.Module:
        """Untrained, the same for the same seed and the same examples to learn from."""
        self.workers.weights.hold(0)  # the embeddings, of which the norm is taken
        torch.manual_seed(self.options.seed)
        sizes = {"d": self.snapshot.embedder.dimension, "hidden": self.model.config.hidden_size}
        made = files.adapter_class(self.options.method).make(self.options, **sizes, token_norm=_token_norm(self.model))
        made.fit(example.slots for example in learned)
        return made.to(self.model.device)

    def plan(self, adapter, learned: Sequence[Example], checked: Sequence[Example]) -> list[str]:
        """What the training will take, as one reads it; its passes are made small enough to fit."""
        share = estimate(self.model, adapter, learned, checked, self.options.epochs, self.budget.micro_tokens, self.hardware,
                         gathered=self.workers.weights.working_memory)  # fmt: skip
        self.budget.micro_tokens = share.micro_tokens
        return share.notes(self.hardware, self.workers.count)

    def scorer(self, checked: Sequence[Example]) -> Callable[[torch.nn.Module], dict]:
        """What is measured after each epoch, on the validation examples: the loss, and METEOR when it decides."""
        if self.options.select_by == "loss":
            return lambda adapter: self._score_by_loss(adapter, checked)
        meteor_mean(["a word"], ["a word"])  # without WordNet, fail now and not after an epoch
        return lambda adapter: self._score_by_meteor(adapter, checked)

    def _score_by_loss(self, adapter, checked: Sequence[Example]) -> dict:
        loss = _per_token(*self.losses(adapter, checked))
        return {"score": -loss, "loss": loss}

    def _score_by_meteor(self, adapter, checked: Sequence[Example]) -> dict:
        engine = TransformersEngine(self.model, self.tokenizer, "the backbone")
        longest = max(len(example.encoded.ids) - example.encoded.targets for example in checked)
        room = min(self.max_target_tokens, engine.context - longest)
        mine = self.workers.share([len(example.encoded.ids) for example in checked])
        requests = ((project(adapter, checked[i].prompt), Sampling(max_new_tokens=room, seed=i)) for i in mine)
        texts = [completion.text for completion in engine.generate(requests)]
        written = dict(self.workers.gather(list(zip(mine, texts, strict=True))))
        score = meteor_mean([written[i] for i in range(len(checked))], [example.answer for example in checked])
        return {**self._score_by_loss(adapter, checked), "score": score, "meteor": score}


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


def _per_token(nats: np.ndarray, tokens: np.ndarray) -> float:
    return float(nats.sum() / tokens.sum())


def _save(folder: Path, template: Template, adapter, config: dict) -> None:
    """The adapter with its card and, where it is not a bundled one, its template; the checkpoints go once it is whole, and
    what an earlier dep let others read."""
    write_card(folder, config)
    (folder / files.TEMPLATE).unlink(missing_ok=True)
    if not template.bundled:
        write_atomically(folder / files.TEMPLATE, template.source.encode())
    files.save(folder, adapter, config)
    shutil.rmtree(folder / files.CHECKPOINTS)
    make_private(folder)
