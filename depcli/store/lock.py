"""One writer at a time: a lock on a file that says who holds it.

The system drops the lock with the process, so a killed writer leaves nothing behind but its number in the file.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import StoreBusy
from depcli.store.failures import storage_errors
from depcli.store.permissions import private


@contextmanager
def write_lock(path: Path, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file at `path`. When another process has it: StoreBusy, or with `wait` one call of `on_wait` with the
    holder's process id, and patience. Files made while it is held are for their owner alone."""
    with storage_errors(path.parent):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            if not wait:
                hint = "wait for it to end, or leave --no-wait out"
                raise StoreBusy(f"another process (pid {holder}) is writing to {path.parent}", hint) from None
            if on_wait is not None:
                on_wait(holder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with storage_errors(path.parent):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        with private():
            yield
    finally:
        os.close(descriptor)
