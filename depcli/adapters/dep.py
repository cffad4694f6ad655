"""The DEP adapter as the paper has it: autoencoder, two projectors, four boundary markers. All that is trained; the backbone
stays frozen. With the reduction `pca`, which `dep train` takes by itself, it is the one in person.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from depcli.adapters.base import Adapter
from depcli.adapters.kinds import KINDS, MARKERS, SLOTS
from depcli.adapters.mlp import projector
from depcli.adapters.person import PersonAdapter
from depcli.adapters.sae import SparseAutoencoder, reconstruction_loss, sparsity_loss
from depcli.records import Slot


@dataclass(frozen=True)
class DepShape:
    """Sizes: embeddings (d), latents (d'), backbone hidden size (H). `token_norm` is the mean L2 norm of the backbone's token
    embeddings, by which soft tokens are scaled: markers start at it, and what the projectors make of a sparse autoencoder's
    latents, all near one half, at a seventh (7B's shape) to a third of it (`mini`). `reduction`: 'sae', 'ae' (an autoencoder
    without sparsity), or 'none' (the embeddings are projected as they are)."""

    d: int
    latents: int
    hidden: int
    token_norm: float
    reduction: str = "sae"


@dataclass(frozen=True)
class DepLoss:
    """Weights of eq. 11 and the sparsity target of eq. 10."""

    lambda_sae: float = 100.0
    gamma: float = 1e-3
    rho: float = 0.05


class DepAdapter(Adapter):
    """Slots in, soft tokens out. Kinds: his and diff carry an embedding (d,), the four markers are parameters."""

    type, sizes = "dep", DepShape

    def __init__(self, shape: DepShape):
        super().__init__(shape)
        self.sae = None if shape.reduction == "none" else SparseAutoencoder(shape.d, shape.latents)
        width = shape.latents if self.sae else shape.d
        self.projectors = nn.ModuleDict({kind: projector(width, shape.hidden) for kind in KINDS})
        # Unit vectors times the norm of a token: one optimizer step then turns a marker about as far as a projected row.
        self.markers = nn.ParameterDict({name: nn.Parameter(torch.randn(shape.hidden) / shape.hidden**0.5) for name in MARKERS})

    @classmethod
    def make(cls, options, *, d: int, hidden: int, token_norm: float) -> Adapter:
        if options.reduction == "pca":
            return PersonAdapter.make(options, d=d, hidden=hidden, token_norm=token_norm)
        return cls(DepShape(d, options.latents or max(1, d // 2), hidden, token_norm, options.reduction))

    @classmethod
    def from_config(cls, shape: dict) -> Adapter:
        return PersonAdapter.from_config(shape) if shape["reduction"] == "pca" else super().from_config(shape)

    def forward(self, slots: Sequence[Slot]) -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
        """Soft tokens (S, H) in the order of the slots, and for each kind present (e (n, d), e_hat (n, d), z (n, d'))."""
        at = {kind: [i for i, slot in enumerate(slots) if slot.kind == kind] for kind in SLOTS}
        device = self.markers[MARKERS[0]].device
        indexes, pieces, seen = [], [], {}
        for kind in KINDS:
            if at[kind]:
                e = torch.from_numpy(np.stack([slots[i].embedding for i in at[kind]])).to(device)
                if self.sae:
                    z = self.sae.encode(e)
                    seen[kind] = (e, self.sae.decode(z), z)
                else:
                    z = e * self.shape.d**0.5  # unit variance, which Xavier initialisation supposes
                indexes += at[kind]
                pieces.append(self.projectors[kind](z) * (self.shape.token_norm / self.shape.hidden**0.5))
        for name in MARKERS:
            if at[name]:
                indexes += at[name]
                pieces.append((self.markers[name] * self.shape.token_norm).expand(len(at[name]), -1))
        rows = torch.cat(pieces)
        order = torch.empty(len(indexes), dtype=torch.long)
        order[torch.tensor(indexes)] = torch.arange(len(indexes))
        return rows[order.to(device)], seen

    def penalty(self, seen: dict, weights: DepLoss) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """What the autoencoder adds to the generation loss, and its terms."""
        if not seen:  # no autoencoder, or markers alone
            return None, {}
        terms = dep_losses(seen, replace(weights, gamma=0.0) if self.shape.reduction == "ae" else weights)
        return terms["sae"], terms


def dep_losses(seen: dict, weights: DepLoss) -> dict[str, torch.Tensor]:
    """The autoencoder's part of eq. 11 over one whole optimizer step: `recon`, `sparse`, and `sae` = lambda * (recon +
    gamma * sparse), each the sum over the kinds present."""
    recon = sum(reconstruction_loss(e, e_hat) for e, e_hat, _ in seen.values())
    sparse = sum(sparsity_loss(z, weights.rho) for _, _, z in seen.values())
    return {"recon": recon, "sparse": sparse, "sae": weights.lambda_sae * (recon + weights.gamma * sparse)}
