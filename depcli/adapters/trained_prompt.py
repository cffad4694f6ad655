"""The adapter of the control: a trained soft token for every place where DEP has one, the same for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from depcli.adapters.base import Adapter
from depcli.adapters.shared import shared_vectors
from depcli.records import Slot


@dataclass(frozen=True)
class TrainedPromptShape:
    """`reviews` past reviews at most have tokens; H = `hidden`. `token_norm` as for DEP."""

    reviews: int
    hidden: int
    token_norm: float


class TrainedPromptAdapter(Adapter):
    """Slots in, soft tokens out: a slot of kind `his_0` gets the vector of this name, whatever the user wrote."""

    type, sizes = "trained-prompt", TrainedPromptShape

    def __init__(self, shape: TrainedPromptShape):
        super().__init__(shape)
        self.vectors = shared_vectors(shape.reviews, shape.hidden)

    @classmethod
    def make(cls, options, *, d: int, hidden: int, token_norm: float) -> TrainedPromptAdapter:
        return cls(TrainedPromptShape(options.history, hidden, token_norm))

    def forward(self, slots: Sequence[Slot]) -> tuple[torch.Tensor, dict]:
        """Soft tokens (S, H) in the order of the slots, and nothing that a penalty would need."""
        return torch.stack([self.vectors[slot.kind] for slot in slots]) * self.shape.token_norm, {}
