from __future__ import annotations

import shutil

import pytest

from depcli import backbones
from depcli.adapters.trained_for import backbone_of, record
from depcli.errors import Incompatible, NotFound


def config_of(backbone) -> dict:
    return {"backbone": backbones.recognise(backbone, 64), **record(backbone)}


@pytest.fixture
def own(tmp_path, tiny_backbone):
    """A backbone folder to do things to."""
    return shutil.copytree(tiny_backbone, tmp_path / "mine")


@pytest.mark.parametrize("name", ["mini", "qwen2.5-7b", "Qwen/Qwen3-8B"])
def test_a_backbone_with_a_name_is_found_by_it(tmp_path, name):
    backbone = backbones.find(name)
    assert record(backbone) == {}
    found, why = backbone_of(tmp_path / "a", {"backbone": {"name": backbone.name}})
    assert found == backbone and why == "the adapter was trained for it"


def test_a_folder_is_found_where_it_was_from_anywhere(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = config_of(backbones.find("mine"))  # a relative path
    monkeypatch.chdir("/")
    found, why = backbone_of(tmp_path / "a", config)
    assert found == backbones.find(str(own)) and str(own) in why


def test_a_folder_that_is_called_like_a_known_backbone_is_not_taken_for_it(own, tmp_path):
    backbone = backbones.find(str(own.rename(tmp_path / "mini")))
    assert backbone.name == "mini" and backbone_of(tmp_path / "a", config_of(backbone))[0] == backbone != backbones.find("mini")


def test_a_folder_that_is_gone_or_holds_other_weights_is_refused(own, tmp_path):
    config = config_of(backbones.find(str(own)))
    weights = own / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(Incompatible, match=f"{own} holds other weights than adapter 'a'") as other:
        backbone_of(tmp_path / "a", config)
    shutil.rmtree(own)
    with pytest.raises(NotFound, match=f"mine, is no longer in {own}") as gone:
        backbone_of(tmp_path / "a", config)
    assert "--backbone PATH" in other.value.hint and "--backbone PATH" in gone.value.hint
