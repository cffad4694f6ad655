"""Whether a training on a CPU is held up by other processes, which its speed alone does not tell."""

from __future__ import annotations

_WINDOW = 10.0  # seconds of steps that are looked at together
_MISSED = 0.35  # of a processor


class Crowd:
    """PyTorch's threads wait for each other, and waiting keeps a processor busy: who had less than one for each thread shared
    them with others, and then fewer threads are quicker. Their number shows in the last bits of sums, so it is left as it is."""

    def __init__(self, threads: int):
        self._threads, self._seconds, self._computed = threads, 0.0, 0.0

    def after(self, seconds: float, computed: float) -> str | None:
        """What to say, once, after a step of so many `seconds`, in which this process had `computed` seconds of processors."""
        if self._threads < 2:
            return None
        self._seconds += seconds
        self._computed += computed
        if self._seconds < _WINDOW:
            return None
        threads, had = self._threads, self._computed / self._seconds
        self._seconds = self._computed = 0.0
        if had >= threads - _MISSED:
            return None
        self._threads = 0
        fewer = max(1, min(threads - 1, round(had)))
        return (
            f"other work is in the way: {threads} threads share {had:.1f} processors and wait for each other. While that goes on "
            f"fewer are quicker: Ctrl-C, then the same command with OMP_NUM_THREADS={fewer} before it and --resume"
        )
