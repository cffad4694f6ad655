"""Trained vectors in the places of DEP's soft tokens that are the same for everyone."""

from __future__ import annotations

import torch
from torch import nn

from depcli.adapters.kinds import SLOTS


def shared_vectors(reviews: int, hidden: int) -> nn.ParameterDict:
    """A vector (H,) of about unit length for each kind of slot of the `reviews` newest reviews: `his_0` is the newest one's."""
    # To be multiplied by the norm of a token, as the markers of DEP.
    names = [f"{kind}_{age}" for age in range(reviews) for kind in SLOTS]
    return nn.ParameterDict({name: nn.Parameter(torch.randn(hidden) / hidden**0.5) for name in names})
