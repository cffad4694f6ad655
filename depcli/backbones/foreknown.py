"""Texts that a backbone was made from, where it says so: what a model has read it foresees too well.

`mini` does; which reviews a model from a hub has read nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

from depcli.backbones.catalogue import Backbone

FILE = "texts_read.npy"  # beside the weights: what `marks` gives


def marks(texts: Iterable[str]) -> np.ndarray:
    """(n,) uint32, one for each text, white space aside. Of 50,000 texts that `mini` was not made from one counts as read."""
    digests = (sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).digest()[:4] for text in texts)
    return np.frombuffer(b"".join(digests), "<u4")


def notes(backbone: Backbone, texts: Iterable[str], what: str) -> list[str]:
    """What is to be said of these texts, which are `what` ("tested"): how many of them the backbone was made from."""
    path = backbone.weights / FILE if backbone.is_local else None
    if not (path and path.is_file()):
        return []
    asked = marks(texts)
    if not (read := int(np.isin(asked, np.load(path)).sum())):
        return []
    said = f"{backbone.name} was made from {read:,} of the {len(asked):,} {what} reviews"
    return [f"{said}: it foresees these too well, and what one method adds to another may not show"]
