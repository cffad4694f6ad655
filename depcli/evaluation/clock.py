"""What each part of an evaluation took, so that its cost beside the writing is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by part, in the order in which the parts began; a part may come again, and stand inside another."""

    def __init__(self):
        self._seconds: dict[str, float] = {}
        self._inside: list[str] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """The time inside this block belongs to `name`, and not to the part around it."""
        started = time.perf_counter()
        self._seconds.setdefault(name, 0.0)
        self._inside.append(name)
        try:
            yield
        finally:
            self._inside.pop()
            spent = time.perf_counter() - started
            self._seconds[name] += spent
            if self._inside:
                self._seconds[self._inside[-1]] -= spent

    def seconds(self) -> dict[str, float]:
        """Rounded to milliseconds."""
        return {name: round(spent, 3) for name, spent in self._seconds.items()}
