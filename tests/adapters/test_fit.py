"""An adapter loads onto the backbone that it was trained for, by whatever name and in whatever form that comes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from depcli.adapters.files import check_fit
from depcli.errors import Incompatible
from depcli.records import EmbedderIdentity

EMBEDDER = EmbedderIdentity("made", "1", 4)
FOLDER, OTHER, HUB, HUBS_OTHER = "a" * 64, "b" * 64, "c" * 40, "d" * 40  # digests of folders, commits of the hub
SHAPE = {"architecture": "llama", "hidden_size": 64, "layers": 2, "vocabulary": 300}


def fit(trained: str, **backbone) -> None:
    config = {"embedder": asdict(EMBEDDER), "backbone": {"name": "mine", "revision": trained, **SHAPE}}
    check_fit(Path("adapters/a"), config, embedder=EMBEDDER, backbone=backbone)


@pytest.mark.parametrize(
    ("trained", "backbone"),
    [
        (FOLDER, {"name": "mine", "revision": FOLDER, **SHAPE}),
        (FOLDER, {"name": "a copy", "revision": FOLDER, **SHAPE}),
        (HUB, {"name": "a copy", "revision": OTHER, **SHAPE}),  # of the hub's files: another kind of revision
        (FOLDER, {"name": "a GGUF alone", "hidden_size": 64}),
    ],
)
def test_the_same_weights_are_taken(trained, backbone):
    fit(trained, **backbone)


@pytest.mark.parametrize(
    ("trained", "backbone", "said"),
    [
        (FOLDER, {"name": "mine", "revision": OTHER}, "revision"),
        (FOLDER, {"name": "another", "revision": OTHER}, "revision"),
        (HUB, {"name": "another", "revision": HUBS_OTHER}, "revision"),
        (FOLDER, {"name": "x", "hidden_size": 32}, "hidden_size 64"),
        (HUB, {"name": "x", "revision": OTHER, "architecture": "qwen2"}, "architecture 'llama', the backbone has 'qwen2'"),
        (HUB, {"name": "x", "revision": OTHER, "layers": 3}, "layers 2"),
        (HUB, {"name": "x", "revision": OTHER, "vocabulary": 301}, "vocabulary 300"),
    ],
)
def test_others_are_refused(trained, backbone, said):
    with pytest.raises(Incompatible, match=said) as error:
        fit(trained, **{**SHAPE, **backbone})
    assert "dep train --backbone" in error.value.hint
