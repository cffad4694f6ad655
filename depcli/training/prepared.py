"""What one training works with, before its first step: the split, the frozen backbone, the examples, the untrained adapter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch

from depcli import backbones, methods
from depcli.adapters import files, trained_for
from depcli.adapters.project import project
from depcli.backbones.catalogue import Backbone
from depcli.backbones.fused import fuse
from depcli.backbones.passes import checkpoint_layers
from depcli.engines.transformers import TransformersEngine
from depcli.errors import BadInput
from depcli.evaluation.measures.metrics import meteor_mean
from depcli.personal.choices import Choices
from depcli.personal.prompts import PromptBuilder
from depcli.personal.template import GUIDED, Template
from depcli.records import Sampling
from depcli.splits import named
from depcli.splits.leakage import CHECKED, check_differences, check_leakage, check_shown
from depcli.splits.split import Split, Target, choose, pairs_of
from depcli.thought import as_written
from depcli.training.backbone import load_backbone
from depcli.training.budget import Budget
from depcli.training.estimate import estimate
from depcli.training.examples import Example, make_examples
from depcli.training.hardware import ONLY_WHOLE, Hardware
from depcli.training.options import TrainOptions
from depcli.training.shards import Shards
from depcli.training.step import review_losses
from depcli.training.workers import Workers

_LOOKED_AT = 256  # token embeddings
_MANY = 50_000  # reviews to learn: of more it is said that they can be fewer
# options whose chosen value is recorded instead
_RESOLVED = {"learning_rate", "max_input_tokens", "max_target_tokens", "micro_tokens", "split", "template"}


class Prepared:
    """What one training works with: a split of the store, a frozen backbone, and the options with every gap filled.

    `settings` is what a resumed run must have in common with its first part, and what the adapter's configuration begins with.
    """

    def __init__(
        self,
        store,
        backbone: Backbone,
        options: TrainOptions,
        commit: str | None,
        *,
        offline: bool,
        hardware: Hardware,
        workers: Workers,
        on_event: Callable[[dict], None],
        embedder,
    ):
        self.backbone, self.options, self.embedder = backbone, options, embedder
        self.workers, self.on_event = workers, on_event
        self.snapshot = store.snapshot(at=commit, as_of=options.as_of)
        self.split = named.make(self.snapshot, options.split, targets_per_user=options.targets_per_user)
        check_leakage(self.split)
        for note in self.split.notes():
            on_event({"note": note})
        self.to_learn = self.split.train
        if options.limit is not None:
            drawn = frozenset(choose(self.split, "train", options.limit))
            self.to_learn = tuple(target for target in self.split.train if target in drawn)
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
            "backbone": backbones.fingerprint(backbone, self.model.config),
            "chat": backbones.chat_of(self.tokenizer).digest(),
            "embedder": asdict(store.embedder),
            "template": self.template.name if self.template.bundled else self.template.source,
            "store_commit": self.snapshot.commit.id,
            "split": _describe(self.split),
            "learning_rate": self.rate,
            "max_input_tokens": self.max_input_tokens,
            "max_target_tokens": self.max_target_tokens,
            **{key: value for key, value in asdict(options).items() if key not in _RESOLVED},
            "backbone_precision": hardware.precision,
            **trained_for.record(backbone),
        }

    def digest(self) -> str:
        """Of the backbone's weights as they are now."""
        return backbones.weights_digest(self.model, self.workers.weights.hold_parameter)

    def learned(self) -> list[Example]:
        """The examples to learn from: those with a history in soft tokens. Raises BadInput when there are none."""
        if len(self.to_learn) > _MANY:
            self.on_event({"note": f"{len(self.to_learn):,} prompts are made and kept in memory: --limit N learns fewer reviews"})
        examples = [
            example
            for example in self.examples(self.options.method, self.to_learn)
            if example.slots and (example.prompt.shown or example.prompt.pooled)
        ]
        if not examples:
            peers = ", and other reviewers of what they reviewed, or lower --min-peers"
            raise BadInput("no review has a history to learn from", "ingest users with four reviews or more" + peers)
        return examples

    def examples(self, method: str, targets: Sequence[Target], choices: Choices | None = None) -> list[Example]:
        """What a method makes of these targets, with the `choices` of the adapter or others."""
        choices = choices or self.options.choices
        builder = PromptBuilder(
            self.snapshot,
            methods.find(method),
            self.template,
            backbones.chat_of(self.tokenizer),
            lambda text: len(self.tokenizer(text, add_special_tokens=False)["input_ids"]),
            k=self.options.history,
            max_input_tokens=self.max_input_tokens,
            held_out=self.split.held_out,
            min_peers=self.options.min_peers,
            choices=choices,
            embed=self.embedder.encode if self.embedder else None,
        )
        examples = make_examples(
            builder,
            self.tokenizer,
            pairs_of(targets, self.snapshot),
            self.max_target_tokens,
            lambda made: self.on_event({"preparing": "prompts made", "done": made, "of": len(targets)}),
        )
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

    def plan(self, adapter, learned: Sequence[Example], checked: Sequence[Example], beside: Sequence[Example]) -> list[str]:
        """What the training and weighing those `beside` once will take, as one reads it. Passes are made small enough to fit."""
        share = estimate(
            self.model,
            adapter,
            learned,
            checked,
            self.options.epochs,
            self.budget.micro_tokens,
            self.hardware,
            beside=beside,
            gathered=self.workers.weights.working_memory,
        )
        self.budget.micro_tokens = share.micro_tokens
        return share.notes(self.hardware, self.workers.count)

    def scorer(self, checked: Sequence[Example]) -> Callable[[torch.nn.Module], dict]:
        """What is measured after each epoch, on the validation examples: the loss, and METEOR when it decides."""
        if self.options.select_by == "loss":
            return lambda adapter: self._score_by_loss(adapter, checked)
        meteor_mean(["a word"], ["a word"])  # without WordNet, fail now and not after an epoch
        return lambda adapter: self._score_by_meteor(adapter, checked)

    def _score_by_loss(self, adapter, checked: Sequence[Example]) -> dict:
        loss = per_token(*self.losses(adapter, checked))
        return {"score": -loss, "loss": loss}

    def _score_by_meteor(self, adapter, checked: Sequence[Example]) -> dict:
        engine = TransformersEngine(self.model, self.tokenizer, self.backbone)
        longest = max(len(example.encoded.ids) - example.encoded.targets for example in checked)
        room = min(self.max_target_tokens, engine.context - longest)
        mine = self.workers.share([len(example.encoded.ids) for example in checked])
        requests = ((project(adapter, checked[i].prompt), Sampling(max_new_tokens=room, seed=i)) for i in mine)
        texts = [as_written(completion, blind=False).text for completion in engine.generate(requests)]
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
    """Mean L2 norm of the backbone's token embeddings as its layers get them: some tables scale what they hold (Gemma)."""
    table = model.get_input_embeddings()
    some = torch.arange(min(_LOOKED_AT, table.weight.shape[0]), device=table.weight.device)
    scale = table(some).float().norm() / table.weight[some].float().norm()
    return (table.weight.float().norm(dim=1).mean() * scale).item()


def per_token(nats: np.ndarray, tokens: np.ndarray) -> float:
    """Nats per token over all examples, each token counting alike; (n,) each."""
    return float(nats.sum() / tokens.sum())
