"""One training at a time in an adapter's folder: two would mix their steps, and each would remove the other's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

from depcli.adapters.files import LOCK
from depcli.errors import DepError
from depcli.permissions import private
from depcli.training.workers import launched_rank


def alone(function: Callable) -> Callable:
    """The function, called with `folder=`, raises DepError while another process is at work in that folder. Of torchrun's
    processes the first one holds the place for all."""

    @wraps(function)
    def in_its_place(*, folder: Path, **given):
        from filelock import FileLock, Timeout

        if launched_rank() != 0:
            return function(folder=folder, **given)
        lock = FileLock(folder / LOCK)
        with private():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                message = f"another process is training the adapter {folder.name!r} in {folder}"
                raise DepError(message, "wait for it, or name another --adapter") from None
        try:
            return function(folder=folder, **given)
        finally:
            lock.release()

    return in_its_place
