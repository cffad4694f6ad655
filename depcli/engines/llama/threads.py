"""How many threads llama.cpp computes with.

They wait for each other some hundred times a token, and waiting keeps a processor busy. Where another process has one of the
processors, the thread that should run there holds up all others for as long as the system lets that process run: as many threads
as processors are then several times slower than one thread fewer. What is computed does not depend on how many there are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_WINDOW = 0.1  # seconds of computing that are looked at together: the system counts the time of threads in steps of milliseconds
_MISSED = 0.35  # of a processor: who had less than one for each thread but this was held up
_PATIENCE, _MOST_PATIENCE = 1.0, 30.0  # seconds until one thread more is tried


class Threads:
    """How many there are `now`, of `most`: where it `adapts`, as many as had a processor of their own lately. A context manager
    around each call that computes; `clock` and `used` are seconds, of the day and of processors that this process had."""

    def __init__(
        self,
        most: int,
        *,
        adapts: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        used: Callable[[], float] = time.process_time,
    ):
        self.now = self.most = most
        self._adapts, self._clock, self._used = adapts and most > 1, clock, used
        self._seconds = self._computed = self._again = 0.0
        self._patience, self._trying = _PATIENCE, False

    def __enter__(self) -> None:
        self._began = self._clock(), self._used()

    def __exit__(self, *_) -> None:
        ended = self._clock()
        self._seconds += ended - self._began[0]
        self._computed += self._used() - self._began[1]
        if self._adapts and self._seconds >= _WINDOW:
            self._adapt(self._computed / self._seconds, ended)
            self._seconds = self._computed = 0.0

    def _adapt(self, had: float, moment: float) -> None:
        """Go on with as many threads as `had` processors, and try one more after a while."""
        if self.now > 1 and had < self.now - _MISSED:
            self._patience = min(2 * self._patience, _MOST_PATIENCE) if self._trying else _PATIENCE
            self.now = max(1, min(self.now - 1, round(had)))
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
