"""As many threads as have a processor of their own: on a made-up machine, whose clock runs as it is told, and that none of this
shows in what is computed."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from dataclasses import replace

import llama_cpp
import numpy as np
import pytest

from depcli.backbones import find
from depcli.engines import load
from depcli.engines.llama.threads import Threads, threads
from depcli.engines.tuning import Tuning
from depcli.records import Sampling, SoftPrompt, Text, Vectors
from depcli.system.waiting import waited
from tests.engines.ggufs import quantized


class Machine:
    """A call takes `work` seconds of a processor, divided among threads. One that has to share a processor waits for it half the
    time and holds up all others, who wait without letting go of theirs: ten times as long, as was measured."""

    def __init__(self, work: float = 0.02):
        self.work, self.free, self.day, self.waited, self.calls = work, 0, 0.0, 0.0, 0
        self.chance = random.Random(0)

    def pace(self, most: int) -> Threads:
        return Threads(most, clock=lambda: self.day, waited=lambda: self.waited)

    def call(self, pace: Threads) -> None:
        with pace:
            sharing = max(0, pace.now - self.free)
            seconds = self.work / pace.now * (10 if sharing else 1)
            self.day += seconds
            self.waited += seconds * (0.5 * sharing + self.chance.expovariate(1 / (0.003 * pace.now)))  # the system's own work
            self.calls += 1
        self.day += 0.0005  # what is done between calls, by one thread

    def run(self, pace: Threads, seconds: float) -> float:
        """Calls for so long; how many of them there were for each that threads on just the free processors would have made."""
        until, before = self.day + seconds, self.calls
        while self.day < until:
            self.call(pace)
        return (self.calls - before) * (self.work / self.free + 0.0005) / seconds


@pytest.fixture
def machine():
    return Machine()


@pytest.mark.parametrize("most", [2, 8, 16, 32])
def test_alone_all_threads_compute(machine, most):
    pace, machine.free = machine.pace(most), most
    assert machine.run(pace, 60) > 0.99 and pace.now == most


@pytest.mark.parametrize(("most", "free"), [(2, 1), (8, 7), (8, 3), (16, 15), (32, 31)])
def test_beside_others_those_that_have_a_processor_compute(machine, most, free):
    pace, machine.free = machine.pace(most), free
    assert machine.run(pace, 120) > 0.9


def test_who_is_alone_again_computes_with_all_threads_again(machine):
    pace = machine.pace(8)
    for machine.free in (8, 2, 8, 6, 8):
        machine.run(pace, 90)
        assert machine.run(pace, 30) > 0.9 and pace.now in (machine.free, machine.free + 1)
    assert machine.run(pace, 10) > 0.97


def test_one_thread_is_never_too_many(machine):
    machine.free, machine.work, pace = 1, 1.0, machine.pace(1)
    assert machine.run(pace, 60) == pytest.approx(1, abs=0.05) and pace.now == 1


def test_where_the_system_does_not_tell_the_number_stays(machine):
    pace, machine.free = Threads(4, clock=lambda: machine.day, waited=lambda: 0.0), 1
    machine.run(pace, 10)
    assert pace.now == 4


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="the system does not tell who waits")
def test_what_waits_for_a_processor_is_known():
    """Threads that share one processor wait for each other; hashing lets go of Python's own lock."""
    allowed, before = os.sched_getaffinity(0), waited()
    os.sched_setaffinity(0, {min(allowed)})
    try:
        work = [threading.Thread(target=lambda: hashlib.sha256(bytes(200_000_000))) for _ in range(3)]
        for one in work:
            one.start()
        seen = waited()
        while any(one.is_alive() for one in work):
            seen = max(seen, waited())
    finally:
        os.sched_setaffinity(0, allowed)
    assert seen - before > 0.05


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
@pytest.mark.parametrize(
    "ftype", ["ALL_F32", "MOSTLY_F16", "MOSTLY_BF16", "MOSTLY_Q8_0", "MOSTLY_Q4_0", "MOSTLY_Q4_K_M", "MOSTLY_Q6_K"]
)
@pytest.mark.parametrize("parallel", [1, 3])
def test_the_number_of_threads_does_not_show(ftype, parallel, tmp_path, monkeypatch):
    backbone = find("mini")
    path = quantized(getattr(llama_cpp, f"LLAMA_FTYPE_{ftype}"), backbone.gguf, tmp_path / "mini.gguf")
    rows = np.random.default_rng(0).normal(0, 0.3, (6, 256)).astype(np.float32)
    prompts = [
        SoftPrompt((Text(f"{word} film that "), Vectors(rows), Text("grows on you. " * 20)), 256) for word in ("A", "One", "My")
    ]
    found = []
    for number in (1, 2, "now this, now that"):
        if isinstance(number, str):  # changed after every call
            monkeypatch.setattr(Threads, "__exit__", lambda self, *_: setattr(self, "now", 3 - self.now))
            number = 2
        with load("llamacpp", replace(backbone, gguf=path), tuning=Tuning(threads=number, parallel=parallel)) as engine:
            texts = [one.tokens for one in engine.generate((p, Sampling(max_new_tokens=12, seed=1)) for p in prompts)]
            found.append((engine.next_logits(prompts[0]).tobytes(), texts, engine.likelihood(prompts[1], "it is slow", 64).nats))
    assert found[0] == found[1] == found[2]


def test_there_are_as_many_as_asked_for_or_processors(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads() == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
