"""Ctrl-C at a moment of our choosing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted(on_press: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Ctrl-C waits for the end of the block, which is all or nothing: a commit of the store, a training step. `on_press` is
    called when it is pressed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def press(number, frame) -> None:
        pressed.append(number)
        on_press()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)
