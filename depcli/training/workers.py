"""Several processes that train one adapter together (torchrun). Each holds the backbone, or a part of it (see shards.py), and
passes its share of every batch through it; the gradients of the soft tokens are added up, and everything else is done by all
alike. So all hold the same adapter, and what travels is a few rows per review, not the adapter's gradients."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from depcli.errors import DepError
from depcli.training.hardware import is_out_of_memory

_PATIENCE = timedelta(minutes=30)  # for a worker that loads, or writes reviews for METEOR, longer than the others


class WorkerLost(DepError):
    """Another process of this training has ended."""

    def __init__(self):
        super().__init__("another worker of this training has ended; see its message", "go on with --resume")


class Weights:
    """The weights of a backbone that every worker has all of: none needs another's. In parts they are Shards."""

    working_memory = 0  # bytes of pieces that are brought together for a pass

    def hold(self, step: int) -> None:
        """Have the weights of this step of a pass here."""

    def hold_parameter(self, name: str) -> None:
        """Have this parameter here."""

    def finish(self) -> None:
        """Done with a share: let the others finish theirs."""

    def fail(self) -> None:
        """A pass has failed: let the others know if it concerns them."""


class Workers:
    """`count` processes, of which this is number `rank`. One process alone needs no setting up: Workers()."""

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count, self.weights = rank, count, Weights()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, costs: Sequence[int]) -> list[int]:
        """Positions of this worker's part of what costs so much: the dearest first, each to whoever has least so far."""
        if self.count == 1:
            return list(range(len(costs)))
        loads, mine = [0] * self.count, []
        for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
            worker = loads.index(min(loads))
            loads[worker] += costs[i]
            if worker == self.rank:
                mine.append(i)
        return sorted(mine)

    def add_up(self, tensor: torch.Tensor) -> None:
        """Replace the tensor by the sum of all workers'. Raises WorkerLost, PassGivenUp."""
        if self.count > 1:
            self.weights.finish()
            together(lambda: dist.all_reduce(tensor))

    def gather(self, things: Sequence) -> list:
        """The things of all workers, in the order of the workers. Raises WorkerLost, PassGivenUp."""
        if self.count == 1:
            return list(things)
        self.weights.finish()
        all_things: list = [None] * self.count
        together(lambda: dist.all_gather_object(all_things, list(things)))
        return [thing for theirs in all_things for thing in theirs]

    def wait(self) -> None:
        """Until all are here. Raises WorkerLost."""
        self.gather(())


def together(action: Callable[[], object]) -> None:
    """Do what all workers do at the same time. Raises WorkerLost."""
    try:
        action()
    except RuntimeError as error:  # the connection to one that is gone; torch has no class of its own for it
        if is_out_of_memory(error):
            raise
        raise WorkerLost from error


def launched_rank() -> int:
    """Which of torchrun's processes this is; 0 where there is one alone."""
    return int(os.environ.get("RANK", "0"))


def join(device: str) -> tuple[Workers, str]:
    """(the workers that torchrun has started this process with, the device of this one). On GPUs each takes its own.

    Whoever is asked to end (torchrun does so when another has died) is interrupted as by Ctrl-C, and saves where it stands.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Workers(), device
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
        if not on_gpu:  # NCCL may wait there for a worker that has died
            atexit.register(dist.destroy_process_group)  # else gloo's threads, still at work when the process ends, may abort it
    return Workers(launched_rank(), count), device
