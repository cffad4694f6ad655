"""The random backbone of the speed figures is one that `dep` takes in both its forms."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from depcli import engines
from depcli.backbones import find
from depcli.records import Sampling, SoftPrompt, Text

ROOT = Path(__file__).parents[2]


def test_both_forms_write_the_same(tmp_path):
    command = [sys.executable, "benchmarks/random_backbone.py", str(tmp_path / "random"), "--shape", "tiny"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = [(SoftPrompt((Text("A quiet film"),)), Sampling(temperature=0, max_new_tokens=12))]
    texts = []
    for name in ("llamacpp", "transformers"):
        with engines.load(name, find(str(tmp_path / "random")), exact=True) as engine:
            texts += [completion.tokens for completion in engine.generate(asked)]
    assert texts[0] == texts[1] and len(texts[0]) == 12
