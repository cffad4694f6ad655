"""The sparse autoencoder that distils embeddings before they are projected (DEP section 3.2.2, eq. 5, 8-10)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class SparseAutoencoder(nn.Module):
    """d -> d' -> d, one pair of weights for both kinds of embedding.

    The encoder ends in a sigmoid, so that the mean activation rho_hat lies strictly in (0, 1): the KL term is finite and
    has a gradient for every latent. (A clamp leaves latents with a mean of zero or less without any.) The decoder is
    linear, so that every embedding can be reached. Unit vectors are scaled by sqrt(d) on the way in and back on the way
    out: their coordinates then have unit variance, which Xavier initialisation supposes.
    """

    def __init__(self, d: int, latents: int):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(d, latents), nn.Linear(latents, d)
        self._scale = d**0.5
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def encode(self, e: torch.Tensor) -> torch.Tensor:
        """(n, d) embeddings -> (n, d') activations in (0, 1)."""
        return torch.sigmoid(self.encoder(e * self._scale))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(n, d') activations -> (n, d) embeddings."""
        return self.decoder(z) / self._scale


def reconstruction_loss(e: torch.Tensor, e_hat: torch.Tensor) -> torch.Tensor:
    """Mean SmoothL1 over all coordinates of one kind (eq. 8 adds the kinds)."""
    return F.smooth_l1_loss(e_hat, e)


def sparsity_loss(z: torch.Tensor, rho: float) -> torch.Tensor:
    """Mean over latents of KL(rho || rho_hat_j), rho_hat_j the mean activation of latent j over the (n, d') batch, one
    kind (eq. 9 and 10)."""
    rho_hat = z.mean(0).clamp(1e-6, 1 - 1e-6)  # against rounding in half precision alone: a sigmoid is inside
    return (rho * torch.log(rho / rho_hat) + (1 - rho) * torch.log((1 - rho) / (1 - rho_hat))).mean()
