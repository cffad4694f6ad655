"""What a training says of other processes that are in its way."""

from __future__ import annotations

import pytest

from depcli.training.crowd import Crowd

LONG = 3600.0


class Day:
    """Steps of half a second, in which threads wait for so many processors on average."""

    def __init__(self, threads: int):
        self.waited = 0.0
        self.crowd = Crowd(threads, lambda: self.waited)

    def steps(self, count: int, share: float, left: float = LONG) -> list[str]:
        said = []
        for _ in range(count):
            self.waited += 0.5 * share
            said.append(self.crowd.after(0.5, left))
        return [note for note in said if note]


@pytest.mark.parametrize(("threads", "share", "fewer"), [(2, 0.9, 1), (8, 0.5, 7), (8, 3.2, 5), (2, 1.6, 1)])
def test_threads_that_wait_for_processors_are_told_of_once(threads, share, fewer):
    day = Day(threads)
    assert day.steps(60, 0.01) == []
    (note,) = day.steps(100, share)
    assert f"OMP_NUM_THREADS={fewer} " in note


def test_nothing_is_said_of_a_moment_of_one_thread_or_near_the_end():
    assert Day(2).steps(19, 1.0) == []
    assert Day(1).steps(100, 0.5) == []
    assert Day(2).steps(100, 1.0, left=30.0) == []


def test_where_the_system_does_not_tell_nothing_is_said():
    crowd = Crowd(2, lambda: 0.0)
    assert not any(crowd.after(20.0, LONG) for _ in range(3))
