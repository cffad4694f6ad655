"""The PPlug adapter: one soft token for a user's whole history, and one for the task that is the same for everyone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from depcli.adapters.base import Adapter
from depcli.adapters.mlp import projector
from depcli.records import Slot


@dataclass(frozen=True)
class PPlugShape:
    """Sizes: embeddings (d), backbone hidden size (H). `token_norm` is the mean L2 norm of the backbone's token embeddings, which
    both soft tokens have."""

    d: int
    hidden: int
    token_norm: float


class PPlugAdapter(Adapter):
    """Slots in, soft tokens out. A `person` slot carries a query (d,) and the history's vectors, a `task` slot carries nothing.

    person = sum_i softmax_i(h_i . query) MLP(h_i) over the history, task = MLP(a trained vector); both are scaled to
    `token_norm`. Each history is weighed by itself, so that no padding exists that could take a share.
    """

    type, sizes = "pplug", PPlugShape

    def __init__(self, shape: PPlugShape):
        super().__init__(shape)
        self.history = projector(shape.d, shape.hidden)
        self.task = projector(shape.d, shape.hidden)
        self.task_vector = nn.Parameter(F.normalize(torch.randn(shape.d), dim=0))

    @classmethod
    def make(cls, options, *, d: int, hidden: int, token_norm: float) -> PPlugAdapter:
        return cls(PPlugShape(d, hidden, token_norm))

    def forward(self, slots: Sequence[Slot]) -> tuple[torch.Tensor, dict]:
        """Soft tokens (S, H) in the order of the slots, and nothing that a penalty would need."""
        people = iter(self._people([slot for slot in slots if slot.kind == "person"]))
        task = self.task(self._scaled(self.task_vector))
        rows = torch.stack([next(people) if slot.kind == "person" else task for slot in slots])
        return F.normalize(rows, dim=1) * self.shape.token_norm, {}

    def _people(self, slots: Sequence[Slot]) -> torch.Tensor:
        """(n, H), not yet scaled to the norm of a token."""
        if not slots:
            return torch.empty(0)
        device = self.task_vector.device
        vectors = torch.from_numpy(np.concatenate([np.stack(slot.history) for slot in slots])).to(device)
        first, activation, second = self.history
        hidden = activation(first(self._scaled(vectors)))
        sizes = [len(slot.history) for slot in slots]
        pooled = []
        for slot, own, part in zip(slots, vectors.split(sizes), hidden.split(sizes), strict=True):
            pooled.append(torch.softmax(own @ torch.from_numpy(slot.embedding).to(device), 0) @ part)
        return second(torch.stack(pooled))  # linear, and the weights add up to 1: once after the sum is once for each before it

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        """Unit vectors with coordinates of unit variance, which Xavier initialisation supposes."""
        return vectors * self.shape.d**0.5
