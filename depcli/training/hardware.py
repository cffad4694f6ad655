"""What a training runs on, and how it spends memory there. None of it but `precision` changes what comes out."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from depcli.errors import DepError

ONLY_WHOLE = ("int8", "int4")  # precisions whose weights cannot be spread over workers
_MIB = 1 << 20


@dataclass(frozen=True)
class Hardware:
    """`precision` of the frozen backbone: see backbones.precision; None: bfloat16 on a GPU, float32 elsewhere. `shard` spreads
    it over the workers even where a device can hold it."""

    device: str = "auto"
    precision: str | None = None
    checkpointing: bool = False
    shard: bool = False

    def what_needs_less(self, workers: int = 1) -> str:
        """Options that lower the need for memory and are not in use yet."""
        less = [] if self.checkpointing else ["--checkpointing (half more work)"]
        if not self.shard and self.precision not in ONLY_WHOLE:
            less += ["--shard-backbone"] if workers > 1 else []
            less.append("--backbone-precision int8 or int4")
        return " or ".join([*less, "a lower --max-input-tokens or --history, in a new training"])


HERE = Hardware()


class OutOfMemory(DepError):
    """A pass through the backbone does not fit, even with one review in it."""

    def __init__(self, hardware: Hardware, tokens: int, workers: int = 1):
        super().__init__(
            f"out of memory with one review of {tokens:,} tokens at a time; the checkpoint holds every step before it",
            f"go on with --resume and {hardware.what_needs_less(workers)}",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on a CPU (for which torch has no class of its own)."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process may still take on the device; workers of one machine share its memory. Where the system does not
    tell what is free: all that there is. None: not known."""
    if device.type == "cuda":
        kept_for_us = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept_for_us
    try:
        with open("/proc/meminfo") as file:
            available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        try:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return None
    return available // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def mib(size: float) -> str:
    """A size as one reads it."""
    return f"{size / _MIB:,.0f} MiB" if size < 10 * 1024 * _MIB else f"{size / _MIB / 1024:,.1f} GiB"
