"""What a training says of other processes that are in its way."""

from __future__ import annotations

import pytest

from depcli.training.crowd import Crowd


def said(threads: int, steps: list[tuple[float, float]]) -> list[str]:
    crowd = Crowd(threads)
    return [note for seconds, computed in steps if (note := crowd.after(seconds, computed))]


@pytest.mark.parametrize(("threads", "had", "fewer"), [(2, 1.1, 1), (8, 7.4, 7), (8, 2.6, 3), (2, 0.4, 1)])
def test_threads_that_share_processors_are_told_of_once(threads, had, fewer):
    (note,) = said(threads, [(0.5, 0.49 * threads)] * 60 + [(0.5, 0.5 * had)] * 100)
    assert f"{threads} threads share {had:.1f} processors" in note and f"OMP_NUM_THREADS={fewer} " in note


@pytest.mark.parametrize(
    ("threads", "steps"),
    [
        (2, [(0.5, 0.97)] * 100),  # a processor each
        (1, [(0.5, 0.2)] * 100),  # no thread waits for another
        (2, [(0.5, 0.5)] * 10),  # a moment
    ],
)
def test_nothing_is_said_otherwise(threads, steps):
    assert said(threads, steps) == []
