"""How long the threads of this process waited for a processor that somebody else had."""

from __future__ import annotations

import os
from contextlib import suppress

_TASKS = "/proc/self/task"


def fewer(threads: int, share: float) -> int:
    """How many of these threads had a processor of their own, where they waited for `share` processors on average."""
    return max(1, threads - max(1, int(share)))


def waited() -> float:
    """Seconds that all threads which there are now were ready to run and did not, since each began; 0 where the system does not
    tell. It may fall, as threads end."""
    nanoseconds = 0
    with suppress(OSError):
        for thread in os.listdir(_TASKS):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                with open(f"{_TASKS}/{thread}/schedstat", "rb") as file:
                    nanoseconds += int(file.read().split()[1])
    return nanoseconds / 1e9
