"""What a training will take, said before it begins: memory of the dearest pass, and time, from the shapes alone.

Bytes that autograd keeps for a position of a pre-norm decoder layer with a gated feed-forward part and frozen weights (a frozen
linear layer keeps nothing of its input): the residual twice for the norms in float32, queries, attention's output, keys, values,
and three times the inner width. Compiled (see backbones/fused.py), the norms keep no copy in float32 and the gate twice the inner
width. Other layouts differ; the estimate was within a factor of two of what was measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from depcli.backbones.cross_entropy import CHUNK_LOGITS
from depcli.backbones.fused import is_fused
from depcli.training.examples import Example
from depcli.training.hardware import Hardware, free_memory, mib

_OPTIMIZER = 5  # parameters, gradients, two moments, the best weights so far: float32 each
_TRIAL_SECONDS = 0.2
# Of the rate of plain products in 16 bits (32 on a CPU): measured with `mini` on a CPU, with a backbone of 7B on an H100.
_EFFICIENCY = {"cpu": 0.45, "cuda": 0.7, "cuda, fp8": 0.9}


@dataclass(frozen=True)
class Shape:
    """What counts of a backbone: layers, widths (hidden, feed-forward, queries, keys), vocabulary, bytes per number,
    whether what lies between the products is compiled."""

    layers: int
    hidden: int
    inner: int
    queries: int
    keys: int
    vocabulary: int
    size: int
    fused: bool = False

    @classmethod
    def of(cls, model) -> Shape:
        config = model.config
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        keys = (getattr(config, "num_key_value_heads", None) or heads) * width
        inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        return cls(
            config.num_hidden_layers,
            config.hidden_size,
            inner,
            heads * width,
            keys,
            config.vocab_size,
            model.dtype.itemsize,
            is_fused(model),
        )

    def kept(self) -> int:
        """Bytes that one layer keeps of one position for the backward pass."""
        if self.fused:
            return 2 * (self.hidden + self.queries + self.keys + self.inner) * self.size
        wide = 2 * self.hidden * (4 if self.size == 4 else 8)  # in 16 bits a copy in float32 for each norm
        return wide + (2 * self.queries + 2 * self.keys + 3 * self.inner) * self.size

    def pass_memory(self, tokens: int, targets: int, *, checkpointing: bool) -> int:
        """Bytes of a pass with `tokens` padded positions and `targets` targets, at its highest."""
        each = self.hidden * self.size if checkpointing else self.kept()
        in_hand = self.kept() + 4 * self.inner * self.size  # the layer at work, and gradients of its widest parts
        logits = min(targets * self.vocabulary, CHUNK_LOGITS) * (8 + self.size)
        return tokens * (self.layers * each + in_hand) + logits

    def operations(self, tokens: int, fixed: int, targets: int, *, backward: bool, checkpointing: bool = False) -> float:
        """Floating-point operations of one review: forward over all positions, and backward, to the inputs alone, over those from
        the first soft token on (`fixed` positions stand before it)."""
        forward, head = self._forward(tokens, targets), 2.0 * self.hidden * self.vocabulary * targets
        if not backward:
            return forward + head
        after = forward - self._forward(fixed, 0)
        # attention's backward pass computes the scores again: 2.5 times the forward one
        again = 1.5 * 2.0 * self.layers * self.queries * (tokens**2 - fixed**2)
        unread = 2.0 * 3 * self.hidden * self.inner if fixed else 0.0  # one position of the beginning, at the top
        return forward + unread + after * (2 if checkpointing else 1) + again + 2 * head

    def _forward(self, tokens: int, targets: int) -> float:
        attention = 2 * self.hidden * (self.queries + self.keys)
        dense = self.layers * attention * tokens + 3 * self.hidden * self.inner * ((self.layers - 1) * tokens + targets)
        return 2.0 * dense + 2.0 * self.layers * self.queries * tokens**2  # causal: half of the scores


@dataclass(frozen=True)
class Estimate:
    """Bytes and seconds. `free` is what there is (None: not known), `micro_tokens` what a pass may hold to fit into it."""

    memory: int
    free: int | None
    seconds: float
    micro_tokens: int
    fits: bool

    def notes(self, hardware: Hardware, workers: int = 1) -> list[str]:
        """What to say before the training begins; the workers share the time and not the memory."""
        of = "" if self.free is None else f" of {mib(self.free)} free"
        told = [f"estimated: {_duration(self.seconds / workers)} in all, {mib(self.memory)}{of} for training"]
        if not self.fits:
            told.append(f"this may not fit: {hardware.what_needs_less(workers)} needs less")
        return told


def estimate(
    model,
    adapter,
    learned: Sequence[Example],
    checked: Sequence[Example],
    epochs: int,
    micro_tokens: int,
    hardware: Hardware,
    beside: Sequence[Example] = (),
    gathered: int = 0,
) -> Estimate:
    """For `epochs` over `learned` with a validation on `checked` after each, and once on those `beside`; the backbone
    is in memory already, or lies in parts of which `gathered` bytes at a time are whole (the time these take to travel is not
    counted). The passes shrink until they fit, down to one review."""
    shape, device = Shape.of(model), model.device
    free = free_memory(device)
    fixed_part = gathered + _OPTIMIZER * 4 * sum(parameter.numel() for parameter in adapter.parameters())
    longest = max(len(example.encoded.ids) for example in learned)
    most = max(example.encoded.targets / len(example.encoded.ids) for example in learned)

    def memory(tokens: int) -> int:
        return fixed_part + shape.pass_memory(tokens, int(most * tokens), checkpointing=hardware.checkpointing)

    total = sum(len(example.encoded.ids) for example in learned)
    tokens = max(longest, min(micro_tokens, total))
    while free is not None and memory(tokens) > free and tokens > longest:
        tokens = max(longest, tokens // 2)
    work = sum(_work(shape, example, backward=True, checkpointing=hardware.checkpointing) for example in learned)
    work += sum(_work(shape, example, backward=False) for example in checked)
    once = sum(_work(shape, example, backward=False) for example in beside)
    kind = "cuda, fp8" if device.type == "cuda" and hardware.precision == "fp8" else device.type
    rate = matmul_rate(device, model.dtype, shape) * _EFFICIENCY.get(kind, 0.5)
    return Estimate(memory(tokens), free, (epochs * work + once) / rate, tokens, free is None or memory(tokens) <= free)


def _work(shape: Shape, example: Example, **how) -> float:
    encoded = example.encoded
    fixed = int(encoded.soft[0]) if len(encoded.soft) else 0
    return shape.operations(len(encoded.ids), fixed, encoded.targets, **how)


def matmul_rate(
    device: torch.device,
    dtype: torch.dtype,
    shape: Shape,
    seconds: float = _TRIAL_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Operations per second of plain products of the backbone's own feed-forward sizes, 1,024 positions (4,096 on a GPU)."""
    positions = 4096 if device.type == "cuda" else 1024
    a = torch.randn(positions, shape.hidden, device=device).to(dtype)
    b = torch.randn(shape.hidden, shape.inner, device=device).to(dtype)
    out = a @ b
    _wait(device)
    began, count = clock(), 0
    while count < 3 or clock() - began < seconds:
        torch.matmul(a, b, out=out)
        _wait(device)
        count += 1
    return count * 2.0 * positions * shape.hidden * shape.inner / (clock() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, seconds):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
