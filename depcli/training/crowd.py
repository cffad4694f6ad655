"""Whether a training on a CPU is held up by other processes, which its speed alone does not tell."""

from __future__ import annotations

from collections.abc import Callable

from depcli.system.waiting import fewer, waited

_WINDOW = 10.0  # seconds of steps that are looked at together
_HELD_UP = 0.3  # of them in which threads waited for a processor, all together
_WORTH_IT = 120.0  # seconds that are left


class Crowd:
    """PyTorch's threads wait for each other, and waiting keeps a processor busy: where one of them has to share its own, all are
    slow, and fewer are quicker. Their number shows in the last bits of sums, so it is left as it is, and told."""

    def __init__(self, threads: int, waited: Callable[[], float] = waited):
        self._threads, self._waited = threads, waited
        self._seconds, self._before = 0.0, waited()

    def after(self, seconds: float, left: float) -> str | None:
        """What to say, once, after a step of so many `seconds`, with so many still `left`."""
        if self._threads < 2:
            return None
        self._seconds += seconds
        if self._seconds < _WINDOW:
            return None
        now = self._waited()
        share = (now - self._before) / self._seconds
        self._seconds, self._before = 0.0, now
        if share < _HELD_UP or left < _WORTH_IT:
            return None
        alone, self._threads = fewer(self._threads, share), 0
        return (
            "other work is in the way: PyTorch's threads wait for processors, and for each other. While that goes on fewer are "
            f"quicker: Ctrl-C, then OMP_NUM_THREADS={alone} dep train --resume (last bits of sums may differ)"
        )
