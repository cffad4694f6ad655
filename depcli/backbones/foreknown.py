"""Texts that a model was made from, where it says so: what it has read it knows too well.

`mini` does, and the style in the embedder minilm+style; which reviews a model from a hub has read nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np

from depcli.backbones.catalogue import Backbone

FILE = "texts_read.npy"  # beside the weights: what `marks` gives


def marks(texts: Iterable[str]) -> np.ndarray:
    """(n,) uint32, one for each text, white space aside. Of 50,000 texts that `mini` was not made from one counts as read."""
    digests = (sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).digest()[:4] for text in texts)
    return np.frombuffer(b"".join(digests), "<u4")


def count_read(path: Path, texts: Iterable[str]) -> tuple[int, int]:
    """(how many of the texts are among the marks in the file, how many they are); no file, none."""
    asked = marks(texts)
    return (int(np.isin(asked, np.load(path)).sum()) if path.is_file() else 0), len(asked)


def notes(backbone: Backbone, texts: Iterable[str], what: str) -> list[str]:
    """What is to be said of these texts, which are `what` ("tested"): how many of them the backbone was made from."""
    read, asked = count_read(backbone.weights / FILE, texts) if backbone.is_local else (0, 0)
    if not read:
        return []
    said = f"{backbone.name} was made from {read:,} of the {asked:,} {what} reviews"
    return [f"{said}: it foresees these too well, and what one method adds to another may not show"]
