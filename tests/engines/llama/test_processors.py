"""llama.cpp for the processor at hand, as the Makefile builds it: the loader takes AVX-512 where there is any, and what is
computed is the same but for rounding."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

AVX512 = Path(llama_cpp.__file__).parent / "lib/glibc-hwcaps/x86-64-v4/libggml-cpu.so.0"
READS = """
import json, sys
import numpy as np
from depcli import backbones, engines
from depcli.records import SoftPrompt, Text, Vectors
with engines.load("llamacpp", backbones.find("mini")) as engine:
    rows = np.random.default_rng(0).standard_normal((12, engine.width)).astype(np.float32) * 0.3
    logits = engine.next_logits(SoftPrompt((Text("It was a long " * 60), Vectors(rows), Text("film about")), engine.width))
import llama_cpp
print(json.dumps([llama_cpp.llama_print_system_info().decode(), logits[np.isfinite(logits)].tolist()]))
"""


def _read(**environment: str) -> tuple[str, np.ndarray]:
    run = subprocess.run([sys.executable, "-c", READS], env=os.environ | environment, capture_output=True, text=True, check=True)
    info, logits = json.loads(run.stdout)
    return info, np.array(logits)


def _has_avx512() -> bool:
    """Whether the loader knows such folders, and the processor what x86-64-v4 is."""
    wanted = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    library, release = platform.libc_ver()
    knows = library == "glibc" and tuple(map(int, release.split("."))) >= (2, 33)
    return AVX512.exists() and knows and wanted <= set(Path("/proc/cpuinfo").read_text().split())


@pytest.mark.skipif(not _has_avx512(), reason="llama.cpp was not built for AVX-512 too, or the processor has none")
def test_the_processors_own_instructions_are_taken():
    info, logits = _read(GLIBC_TUNABLES="")
    portable_info, portable = _read(GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX512F")
    assert "AVX512 = 1" in info and "AVX512" not in portable_info
    assert not np.array_equal(logits, portable)  # or it would be the same library
    np.testing.assert_allclose(logits, portable, atol=0.02)
