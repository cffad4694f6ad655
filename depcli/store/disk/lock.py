"""One writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import DepError, StoreBusy
from depcli.store.disk.failures import storage_errors
from depcli.system.lock import Lock
from depcli.system.permissions import private

LOCK = "write.lock"  # in the store folder


@contextmanager
def write_lock(path: Path, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[Lock]:
    """Hold the lock file at `path`. When another process has it: StoreBusy, or with `wait` one call of `on_wait` with the
    holder's process id, and patience. Files made while it is held are for their owner alone."""

    def busy(holder: str) -> None:
        if not wait:
            hint = "wait for it to end, or leave --no-wait out"
            raise StoreBusy(f"another process (pid {holder}) is writing to {path.parent}", hint)
        if on_wait is not None:
            on_wait(holder)

    with storage_errors(path.parent):
        lock = Lock(path, busy)
    try:
        confirm(lock)  # it may have gone while this process waited
        with private():
            yield lock
    finally:
        lock.release()


def confirm(lock: Lock) -> None:
    """Raise DepError when the folder is somewhere else now: LanceDB would begin a new one under the old name."""
    if not lock.is_in_place:
        raise DepError(
            f"{lock.path.parent} was moved, deleted or replaced while it was being written to",
            "what was committed is where the folder went: name that with --profiles, and run the same command again",
        )
