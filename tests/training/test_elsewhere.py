"""Training and writing on a device that shares nothing with the CPU, as a GPU does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.personal.conftest import few_people, made_store

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_nothing_is_on_the_wrong_device(tmp_path, compact_backbone):
    store = made_store(tmp_path / "store", *few_people(6))
    command = [sys.executable, "-m", "tests.training.train_elsewhere", str(store.path), str(compact_backbone)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    here, there = json.loads(done.stdout).values()
    assert there.pop("tokens") == here.pop("tokens")
    assert there.keys() == here.keys()
    for method, found in there.items():
        assert found["losses"] == pytest.approx(here[method]["losses"], rel=1e-5), method
        assert found["weights"] == pytest.approx(here[method]["weights"], rel=1e-4, abs=1e-6), method
