"""How long the threads of this process waited for a processor that somebody else had."""

from __future__ import annotations

import os
from contextlib import suppress

_TASKS = "/proc/self/task"


def waited() -> float | None:
    """Seconds that all threads which there are now were ready to run and did not, since each began; None where the system does
    not tell (Linux does, for each thread)."""
    nanoseconds = None
    with suppress(OSError):
        for thread in os.listdir(_TASKS):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                with open(f"{_TASKS}/{thread}/schedstat", "rb") as file:
                    nanoseconds = (nanoseconds or 0) + int(file.read().split()[1])
    return None if nanoseconds is None else nanoseconds / 1e9
