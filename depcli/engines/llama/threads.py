"""How many threads llama.cpp computes with.

They wait for each other some hundred times a token, and waiting keeps a processor busy. Where another process has one of the
processors, the thread that should run there holds up all others for as long as the system lets that process run: as many threads
as processors are then several times slower than one thread fewer.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

from depcli.system.waiting import fewer, waited

_SAME_BITS = "x86_64"  # elsewhere a kernel may be chosen by how many rows a thread has
_WINDOW = 0.1  # seconds of computing that are looked at together, at least
_LOOKING = 0.01  # of a window, at most, is spent on looking twice: where there are many threads that takes a while
_HELD_UP = 0.2  # of it in which threads waited for a processor, all together: one that shares its own waits half the time
_PATIENCE, _MOST_PATIENCE = 1.0, 30.0  # seconds until one thread more is tried


class Threads:
    """How many there are `now`, of `most`: where it `adapts`, as many as had a processor of their own lately. A context manager
    around each call that computes; `clock` and `waited` are seconds, of the day and as in waiting.waited.

    It adapts on processors on which the number of threads is known to show in no bit of what is computed.
    """

    def __init__(
        self,
        most: int,
        *,
        adapts: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        waited: Callable[[], float] = waited,
    ):
        self.now = self.most = most
        self._clock, self._waited = clock, waited
        self._adapts = adapts and most > 1 and platform.machine() == _SAME_BITS
        self._seconds = self._again = 0.0
        self._cost = float("inf")
        self._patience, self._trying = _PATIENCE, False

    def __enter__(self) -> None:
        self._began = self._clock()
        if self._adapts and not self._seconds:
            self._since = self._began, self._waited()
            looked, self._began = self._began, self._clock()
            self._cost = min(self._cost, self._began - looked)  # undisturbed

    def __exit__(self, *_) -> None:
        ended = self._clock()
        self._seconds += ended - self._began
        if self._adapts and self._seconds >= max(_WINDOW, 2 * self._cost / _LOOKING):
            since, before = self._since
            self._adapt(max(0.0, self._waited() - before) / (ended - since), ended)
            self._seconds = 0.0

    def _adapt(self, share: float, moment: float) -> None:
        """Go on with fewer threads where they waited for so many processors on average, and try one more after a while."""
        if self.now > 1 and share > _HELD_UP:
            self._patience = min(2 * self._patience, _MOST_PATIENCE) if self._trying else _PATIENCE
            self.now = fewer(self.now, share)
            self._again, self._trying = moment + self._patience, False
            return
        if self._trying:
            self._patience = _PATIENCE
        self._trying = self.now < self.most and (self._trying or moment >= self._again)
        self.now += self._trying


def threads() -> int:
    """How many threads llama.cpp gets at most: OMP_NUM_THREADS, else one for each processor that we may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
