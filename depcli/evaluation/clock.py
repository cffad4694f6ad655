"""What each part of an evaluation took, so that its cost beside the writing is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by part, in the order in which the parts began; a part may come again."""

    def __init__(self):
        self._seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The time inside this block belongs to `name`."""
        started = time.perf_counter()
        self._seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Rounded to milliseconds."""
        return {name: round(spent, 3) for name, spent in self._seconds.items()}
