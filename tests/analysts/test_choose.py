"""Who is asked, and which state of a model that is."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from depcli import backbones
from depcli.analysts.choose import analyst
from depcli.engines import load
from depcli.records import Sampling


@pytest.mark.parametrize("engine_name", ["llamacpp", "transformers"])
def test_changed_weights_under_the_same_name_are_another_analyst(tiny_backbone, tmp_path, engine_name):
    """A folder whose weights were replaced gives the same name, and no answer of the old ones stands for those of the new."""
    folder = shutil.copytree(tiny_backbone, tmp_path / "mine")
    weights = {"llamacpp": "tiny.gguf", "transformers": "model.safetensors"}[engine_name]

    def identity(temperature=0.5):
        backbone = backbones.find(str(folder))
        with load(engine_name, backbone) as engine, analyst(None, engine, backbone, Sampling(temperature)) as asked:
            return asked.name, asked.identity

    (name, before), again = identity(), identity()
    assert again == (name, before) and name == f"{engine_name}:mine" == before[0]
    assert identity(0.6)[1][:2] == before[:2] and identity(0.6)[1] != before
    data = bytearray((folder / weights).read_bytes())
    data[-1] ^= 1
    (folder / weights).write_bytes(data)
    other_name, after = identity()
    assert other_name == name and after != before


def test_an_endpoint_is_told_by_where_it_is(monkeypatch):
    pytest.importorskip("openai")
    model = backbones.served("m")
    found = []
    for port in (8000, 8001):
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://localhost:{port}/v1")
        with load("openai", model) as engine, analyst(None, engine, replace(model), Sampling()) as asked:
            found.append((asked.name, asked.identity))
    assert found[0][0] == found[1][0] == "openai:m" and found[0][1] != found[1][1]
