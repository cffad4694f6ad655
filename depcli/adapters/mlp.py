"""The two-layer GELU MLP that brings a vector to the width of a backbone."""

from __future__ import annotations

from torch import nn


def projector(width: int, hidden: int) -> nn.Sequential:
    """(n, width) -> (n, hidden), Xavier-initialised (DEP section 4.1)."""
    first, second = nn.Linear(width, hidden), nn.Linear(hidden, hidden)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.GELU(), second)
