"""The script of the training benchmark runs as it would on a GPU, on a shape that a CPU can afford."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("options", [(), ("--precision", "fp8", "--checkpointing")])
def test_random_weights_and_lengths_like_the_papers(tmp_path, options):
    wanted = (
        "--shape",
        "tiny",
        "--scale",
        "0.05",
        "--samples",
        "6",
        "--authors-samples",
        "2",
        "--rounds",
        "1",
        "--device",
        "cpu",
    )
    command = [sys.executable, "benchmarks/train.py", *wanted, *options, "--json", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("  ratio  " in done.stdout) == (not options)
    found = json.loads((tmp_path / "out.json").read_text())
    slow, quick = found["loss_of_both_layouts"]
    assert quick == pytest.approx(slow, rel=0.02 if options else 1e-4)
    assert 110 < found["mean_tokens"] < 256 and found["padded_to"] == 256
    assert 0 <= found["padding_share"] < 0.5 and found["model_flop_share"] > 0
