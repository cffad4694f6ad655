"""What `dep train` can be told. Every value ends in the adapter's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from depcli import methods
from depcli.adapters.dep import DepLoss
from depcli.adapters.files import has_own_template
from depcli.errors import BadInput, Incompatible
from depcli.personal.choices import HISTORY, Choices, concerns
from depcli.splits import named
from depcli.splits.split import TARGETS_PER_USER

PAPER_RATE, SMALL_RATE = 1e-5, 1e-2
SMALL_HIDDEN, MINI_HIDDEN = 1024, 256
_USUAL = asdict(Choices())
REDUCTIONS = ("pca", "sae", "ae", "none")  # as in adapters.person; as in the paper; without sparsity; the embeddings as they are


@dataclass(frozen=True)
class TrainOptions:
    """Defaults are the paper's (DEP section 4.1) but for `epochs`, `reduction` and `targets_per_user`, which do
    better wherever both were measured (benchmarks/README.md); the preset dep-paper has the paper's. Lengths in tokens, batches in
    reviews."""

    method: str = "dep"  # one with soft tokens
    epochs: int = 1
    batch_size: int = 16  # reviews per optimizer step
    micro_tokens: int | None = None  # padded tokens in one pass through the backbone; changes memory, not the loss
    learning_rate: float | None = None  # None: chosen by what is trained and the size of the backbone
    weight_decay: float = 0.025
    warmup_ratio: float = 0.01
    max_grad_norm: float = 1.0
    history: int = HISTORY
    max_input_tokens: int | None = None  # None: the backbone's
    template: str | None = None  # a bundled name or the path of a .jinja file; None: the backbone's
    max_target_tokens: int = 2048
    latents: int | None = None  # None: half the embedding dimension, as 1024 -> 512 in the paper; of pca 16
    loss: DepLoss = DepLoss()
    reduction: str = "pca"  # of the embeddings, by DEP: one of REDUCTIONS
    choices: Choices = Choices()
    min_peers: int = 1  # a difference from fewer peers is not used
    as_of: float | None = None  # unix seconds: only the reviews up to then exist; None: all do
    split: str = named.LEAVE_LAST_OUT  # see splits.named
    targets_per_user: int = TARGETS_PER_USER
    limit: int | None = None  # of the reviews to learn, drawn by hash; None: all
    validation_limit: int = 512
    select_by: str = "loss"  # or "meteor"
    patience: int = 2  # epochs without a better validation before stopping
    seed: int = 0

    def __post_init__(self):
        method, choices = methods.find(self.method), self.choices
        embedded = choices.embeddings != "none" or not method.slots
        wrong = [
            f"{name} must be {what}, not {getattr(choices if name == 'embeddings' else self, name)}"
            for name, what, good in (
                ("method", "one with soft tokens", method.needs_adapter),
                ("epochs", "1 or more", self.epochs >= 1),
                ("batch_size", "1 or more", self.batch_size >= 1),
                ("learning_rate", "above 0 and at most 1", self.learning_rate is None or 0 < self.learning_rate <= 1),
                ("history", "1 or more (with none, nothing is learned)", self.history >= 1),
                ("min_peers", "1 or more", self.min_peers >= 1),
                ("targets_per_user", "1 or more", self.targets_per_user >= 1),
                ("limit", "1 or more", self.limit is None or self.limit >= 1),
                ("validation_limit", "1 or more", self.validation_limit >= 1),
                ("reduction", " or ".join(REDUCTIONS), self.reduction in REDUCTIONS),
                ("embeddings", "his, diff or both (without any, rag is the same)", embedded),
                ("select_by", "loss or meteor", self.select_by in ("loss", "meteor")),
            )
            if not good
        ] or [
            f"{name.replace('_', ' ')} means nothing to {self.method}: leave it out"
            for name, value in asdict(choices).items()
            if value != _USUAL[name] and not concerns(name, method)
        ]
        if wrong:
            raise BadInput("; ".join(wrong))
        named.parse(self.split)

    def rate_for(self, hidden: int) -> tuple[float, str]:
        """(learning rate, reason) for a backbone of this hidden size."""
        if self.learning_rate is not None:
            usual, why = replace(self, learning_rate=None).rate_for(hidden)
            return self.learning_rate, "as named" if self.learning_rate == usual else f"as named; by itself {usual:g}, {why}"
        if self.method == "trained-prompt" or (self.method == "dep" and self.reduction == "pca"):
            # A step changes each number by the rate at most, and those of a unit vector are smaller in a wider backbone: this
            # turns it as far as with `mini`, where it was measured. The paper's rate, for projectors, leaves it where it began.
            rate = SMALL_RATE * min(1.0, (MINI_HIDDEN / hidden) ** 0.5)
            return float(f"{rate:.1e}"), f"for trained vectors of {hidden} numbers"
        if hidden < SMALL_HIDDEN:
            return SMALL_RATE, f"the backbone is small (hidden size {hidden})"
        return PAPER_RATE, "the paper's"


def options_of(named: Mapping, choices: Mapping, begun: Mapping | None = None) -> TrainOptions:
    """The options that are `named`, and these fields of Choices. All others are the defaults, or where a run goes on those in the
    settings it was `begun` with. Raises Incompatible when such a run had a template of its own and none is named."""
    if begun is None:
        return TrainOptions(choices=Choices(**choices), **named)
    its = {field.name: begun[field.name] for field in fields(TrainOptions) if field.name in begun}
    its |= {
        "split": begun["split"]["name"],
        "loss": DepLoss(**begun["loss"]),
        "choices": Choices(**{**begun["choices"], **choices}),
    }
    if "template" not in named and has_own_template(begun):
        raise Incompatible("this run was begun with a template of its own", "name it again: --template FILE")
    return TrainOptions(**{**its, **named})
