"""DEP on top of a trained prompt: what everyone shares is learned as such, and the person is added to it, beginning with nothing.

A soft token is a trained vector for its kind and the review's age, as in `trained_prompt`; to his and diff a linear map of the
embedding's principal components is added. The map begins at zero, and the components have a mean of zero over the training users:
what all have in common need not be learned through each of them, and the map holds nothing but the person. The components
take the place of the autoencoder: the directions in which the histories of the training users differ most, in closed form.
With few directions and no hidden layer there is little that could be learned by heart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from depcli.adapters.base import Adapter
from depcli.adapters.kinds import KINDS
from depcli.adapters.shared import shared_vectors
from depcli.records import Slot

COMPONENTS = 16


@dataclass(frozen=True)
class PersonShape:
    """Sizes: embeddings (d), principal components of each kind (d'), reviews that have shared vectors, backbone hidden size (H).
    `token_norm` is the mean L2 norm of the backbone's token embeddings."""

    d: int
    latents: int
    reviews: int
    hidden: int
    token_norm: float
    reduction: str = "pca"


class PersonAdapter(Adapter):
    """Slots in, soft tokens out, of the kinds that DEP has; their `age` chooses the shared vector."""

    type, sizes = "dep", PersonShape

    def __init__(self, shape: PersonShape):
        super().__init__(shape)
        self.shared = shared_vectors(shape.reviews, shape.hidden)
        self.maps = nn.ModuleDict({kind: nn.Linear(shape.latents, shape.hidden, bias=False) for kind in KINDS})
        for kind, linear in self.maps.items():
            nn.init.zeros_(linear.weight)
            self.register_buffer(f"centre_{kind}", torch.zeros(shape.d))
            self.register_buffer(f"axes_{kind}", torch.zeros(shape.d, shape.latents))

    @classmethod
    def make(cls, options, *, d: int, hidden: int, token_norm: float) -> PersonAdapter:
        return cls(PersonShape(d, min(options.latents or COMPONENTS, d), options.history, hidden, token_norm))

    def fit(self, prompts: Iterable[Sequence[Slot]]) -> None:
        """The directions in which the mean vectors of the prompts vary most, of each kind, and a scale that gives the components
        of a single vector unit variance on average. Not each: the first ones tell people apart best."""
        found = [{kind: [s.embedding for s in slots if s.kind == kind] for kind in KINDS} for slots in prompts]
        for kind in KINDS:
            groups = [vectors[kind] for vectors in found if vectors[kind]]
            if groups:
                means = np.stack([np.mean(group, axis=0, dtype=np.float64) for group in groups])
                centre, axes = means.mean(0), principal_axes(means, self.shape.latents)
                spread = ((np.concatenate(groups) - centre) @ axes).std()
                getattr(self, f"centre_{kind}").copy_(torch.from_numpy(centre))
                getattr(self, f"axes_{kind}").copy_(torch.from_numpy(axes / spread if spread > 0 else axes))

    def components(self, kind: str, embeddings: torch.Tensor) -> torch.Tensor:
        """(n, d) embeddings -> (n, d') principal components."""
        return (embeddings - getattr(self, f"centre_{kind}")) @ getattr(self, f"axes_{kind}")

    def forward(self, slots: Sequence[Slot]) -> tuple[torch.Tensor, dict]:
        """Soft tokens (S, H) in the order of the slots, and nothing that a penalty would need."""
        rows = torch.stack([self.shared[f"{slot.kind}_{slot.age}"] for slot in slots])
        for kind in KINDS:
            at = [i for i, slot in enumerate(slots) if slot.kind == kind]
            if at:
                e = torch.from_numpy(np.stack([slots[i].embedding for i in at])).to(rows.device)
                person = self.maps[kind](self.components(kind, e)) / self.shape.hidden**0.5
                rows = rows.index_add(0, torch.tensor(at, device=rows.device), person)
        return rows * self.shape.token_norm, {}


def principal_axes(rows: np.ndarray, count: int) -> np.ndarray:
    """The `count` directions (d, count), orthonormal, in which rows (n, d) vary most, the first one most. Directions beyond the
    rank of the rows are zero; each points to where its largest coordinate is positive."""
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False, bias=True).reshape(rows.shape[1], -1))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    return vectors * np.sign(largest) * (values > 1e-9 * max(values.max(), 1e-30))
