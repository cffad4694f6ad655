"""What the tests of a whole evaluation have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depcli.evaluation import predictions as files
from depcli.records import EmbedderIdentity, Sampling
from depcli.system import resumable
from tests.evaluation.world import D

SAMPLING = Sampling(max_new_tokens=10, seed=3)


class Hashed:
    """An embedder as wide as the store's vectors."""

    identity = EmbedderIdentity("random", "0", D)

    def encode(self, texts) -> np.ndarray:
        rows = [np.random.default_rng(sum(text.encode("utf-8", "surrogatepass"))).normal(size=D) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def lines(out: Path, name: str = files.PREDICTIONS) -> list[dict]:
    return list(resumable.read_lines(out / name))


def steady(results: dict) -> dict:
    """Without what may differ between two equal runs: when, and how long."""
    kept = {key: value for key, value in results.items() if key not in ("created", "seconds")}
    kept["methods"] = {name: {k: v for k, v in found.items() if k != "generation"} for name, found in results["methods"].items()}
    return kept
