"""A file that one process holds at a time, and that says who holds it.

The system drops the lock with the process, so a killed one leaves nothing behind but its number in the file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from depcli.errors import DepError

_READS, _PAUSE = 25, 0.02  # how often the holder's number is looked for, and the seconds in between


class Lock:
    """The file at `path`, which this process holds until `release()`. While another process does, `on_busy` is called with its
    number, and what it raises ends the matter: else this waits.

    Raises OSError where the file cannot be opened or written, DepError where the file system has no locks.
    """

    def __init__(self, path: Path, on_busy: Callable[[str], None]):
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not self._take():
                on_busy(self._holder())
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            self.release()
            raise

    @property
    def is_in_place(self) -> bool:
        """Whether the file under that name is still the one that is held: a folder can be moved or deleted at any time."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        os.close(self._descriptor)

    def _take(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise DepError(
                f"the file system of {self.path.parent} has no locks ({error.strerror}), so two writers could not be kept apart",
                "use a disk of this machine: --profiles, or --out",
            ) from error
        return True

    def _holder(self) -> str:
        """The number in the file; who has just taken the lock has not written it yet."""
        for _ in range(_READS):
            if number := os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip():
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
