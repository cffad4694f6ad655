"""One writer at a time: a lock on a file that says who holds it.

The system drops the lock with the process, so a killed writer leaves nothing behind but its number in the file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from depcli.errors import DepError, StoreBusy
from depcli.permissions import private
from depcli.store.disk.failures import storage_errors

LOCK = "write.lock"  # in the store folder
_READS, _PAUSE = 25, 0.02  # how often the holder's number is looked for, and the seconds in between


class WriteLock:
    """The lock file at `path`, open and locked."""

    def __init__(self, path: Path, descriptor: int):
        self.path, self._descriptor = path, descriptor

    @property
    def is_in_place(self) -> bool:
        """Whether the file under that name is still the one that is locked: a folder can be moved or deleted at any time."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def confirm(self) -> None:
        """Raise DepError when the folder is somewhere else now: LanceDB would begin a new one under the old name."""
        if not self.is_in_place:
            raise DepError(
                f"{self.path.parent} was moved, deleted or replaced while it was being written to",
                "what was committed is where the folder went: name that with --profiles, and run the same command again",
            )


@contextmanager
def write_lock(path: Path, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[WriteLock]:
    """Hold the lock file at `path`. When another process has it: StoreBusy, or with `wait` one call of `on_wait` with the
    holder's process id, and patience. Files made while it is held are for their owner alone."""
    with storage_errors(path.parent):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _take(descriptor, path):
            holder = _holder(descriptor)
            if not wait:
                hint = "wait for it to end, or leave --no-wait out"
                raise StoreBusy(f"another process (pid {holder}) is writing to {path.parent}", hint)
            if on_wait is not None:
                on_wait(holder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        lock = WriteLock(path, descriptor)
        lock.confirm()  # it may have gone while this process waited
        with storage_errors(path.parent):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        with private():
            yield lock
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> bool:
    """Take the lock, if nobody has it. Raises DepError where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise DepError(
            f"the file system of {path.parent} has no locks ({error.strerror}), so two writers could not be kept apart",
            "put the profiles on a disk of this machine: --profiles",
        ) from error
    return True


def _holder(descriptor: int) -> str:
    """The number in the file; who has just taken the lock has not written it yet."""
    for _ in range(_READS):
        if number := os.pread(descriptor, 20, 0).decode("ascii", "replace").strip():
            return number
        time.sleep(_PAUSE)
    return "unknown"


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file at `path`. Asking takes no right to write."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here: nobody has one
        return False
    finally:
        os.close(descriptor)
    return False
