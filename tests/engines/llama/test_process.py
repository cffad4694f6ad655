"""What shows only in a process of its own: Ctrl-C in the middle of a text, and what gets imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

WRITE = """
import signal
import sys
from depcli.backbones import find
from depcli.engines import load
from depcli.records import Sampling, SoftPrompt, Text

# A test started in the background inherits an ignored Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
prompt = SoftPrompt((Text("the plot"),))
requests = [(prompt, Sampling(temperature=1.0, max_new_tokens=1500, seed=seed)) for seed in range(3000)]
with load("llamacpp", find(sys.argv[1])) as engine:
    heavy = sorted({"torch", "transformers", "lancedb", "pyarrow"} & set(sys.modules))
    print("heavy:", heavy, flush=True)
    if sys.argv[2] == "write":
        for completion in engine.generate(requests, on_text=lambda text: print("text", flush=True)):
            pass
"""


def run(tiny_backbone, what):
    return subprocess.Popen(
        [sys.executable, "-W", "default::ResourceWarning", "-c", WRITE, str(tiny_backbone), what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_writes_without_pytorch_and_keeps_the_terminal_clean(tiny_backbone):
    with run(tiny_backbone, "load") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "heavy: []\n", "")


def test_interrupt_ends_cleanly(tiny_backbone):
    with run(tiny_backbone, "write") as process:
        assert [process.stdout.readline() for _ in range(2)] == ["heavy: []\n", "text\n"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err.rstrip().endswith("KeyboardInterrupt") and "Exception ignored" not in err and "Abort" not in err
    assert process.returncode in (-signal.SIGINT, 130)
