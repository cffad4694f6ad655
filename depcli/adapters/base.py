"""What every adapter is: a module that turns slots into soft tokens, and whose sizes can be written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import ClassVar, Self

import numpy as np
import torch
from torch import nn

from depcli.records import Slot


class Adapter(nn.Module):
    """`type` names it in the files, `sizes` is the frozen dataclass of its `shape`."""

    type: ClassVar[str]
    sizes: ClassVar[type]

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    @classmethod
    def make(cls, options, *, d: int, hidden: int, token_norm: float) -> Self:
        """A new one, for embeddings (d,) and a backbone whose token embeddings (hidden,) have the mean L2 norm `token_norm`."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, shape: dict) -> Self:
        return cls(cls.sizes(**shape))

    def config(self) -> dict:
        return asdict(self.shape)

    def fit(self, prompts: Iterable[Sequence[Slot]]) -> None:
        """Take what no gradient finds from the slots of the training prompts, once, before the first step. Here nothing."""

    def forward(self, slots: Sequence[Slot]) -> tuple[torch.Tensor, dict]:
        """Soft tokens (S, H) in the order of the slots, and what penalty() needs of them."""
        raise NotImplementedError

    @torch.no_grad()
    def rows(self, slots: Sequence[Slot]) -> np.ndarray:
        """The soft tokens alone, (S, H) float32 on the CPU."""
        return self(slots)[0].float().cpu().numpy()

    def penalty(self, seen: dict, weights) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """What is added to the generation loss, and its terms. Here None: the generation loss alone is learned."""
        return None, {}
