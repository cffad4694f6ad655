from __future__ import annotations

import json
import shutil

import pytest

from depcli.backbones import NAMES, find, needed, weights_folder
from depcli.backbones.catalogue import gguf_parts
from depcli.errors import BadInput, NotFound


def test_catalogue_names_and_hub_ids_are_the_same_backbones():
    for name in NAMES[1:]:
        assert find(name) == find(name.upper()) == find(find(name).weights)
        assert find(name).weights_size > find(name).gguf_size > 0
    assert find("qwen2.5-7b").weights == "Qwen/Qwen2.5-7B-Instruct"
    assert find("qwen2.5-0.5b").gguf == ("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q8_0.gguf")


def test_split_ggufs_name_all_their_parts():
    assert gguf_parts("m-00001-of-00003.gguf") == ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"]
    assert gguf_parts("m.gguf") == ["m.gguf"]
    assert len(gguf_parts(find("qwen2.5-32b").gguf[1])) == 5


def test_other_hub_ids_are_taken_as_they_are():
    backbone = find("some-owner/Some_Model-1.5")
    assert (backbone.weights, backbone.gguf, backbone.context) == ("some-owner/Some_Model-1.5", None, None)


def test_a_folder_brings_its_gguf_and_context(tiny_backbone):
    backbone = find(str(tiny_backbone))
    assert (backbone.name, backbone.context, backbone.template) == ("tiny", 2048, "full")
    assert backbone.gguf == tiny_backbone / "tiny.gguf" and backbone.is_local
    assert needed(backbone, "weights", offline=True) is None and needed(backbone, "gguf", offline=True) is None


def test_a_gguf_file_alone_is_a_backbone(tiny_backbone, tmp_path):
    path = shutil.copy(tiny_backbone / "tiny.gguf", tmp_path / "alone.gguf")
    assert find(str(path)).gguf == find(str(tmp_path)).gguf == path
    with pytest.raises(NotFound, match="lacks config.json"):
        weights_folder(find(str(path)))


def test_what_macos_puts_beside_a_file_is_no_second_gguf(tiny_backbone, tmp_path):
    shutil.copytree(tiny_backbone, tmp_path / "mine")
    (tmp_path / "mine" / "._tiny.gguf").write_bytes(b"attributes")
    assert find(str(tmp_path / "mine")).gguf == tmp_path / "mine" / "tiny.gguf"


def test_two_ggufs_in_a_folder_are_ambiguous_and_parts_are_one(tiny_backbone, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    shutil.copy(tiny_backbone / "config.json", tmp_path)
    assert find(str(tmp_path)).gguf is None
    (tmp_path / "a.gguf").rename(tmp_path / "m-00001-of-00002.gguf")
    (tmp_path / "b.gguf").rename(tmp_path / "m-00002-of-00002.gguf")
    assert find(str(tmp_path)).gguf.name == "m-00001-of-00002.gguf"


def test_a_folder_says_how_it_wants_to_be_asked(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"dep": {"template": "compact", "max_input_tokens": 99}}))
    assert (find(str(tmp_path)).template, find(str(tmp_path)).max_input_tokens) == ("compact", 99)


def test_a_prompt_leaves_room_for_a_review(tiny_backbone):
    tiny = find(str(tiny_backbone))
    assert tiny.max_input_tokens == 3072 > tiny.context == 2048
    assert [tiny.prompt_budget(context) for context in (2048, 3080, 4095, 4096, 32768)] == [1024, 1540, 2047, 3072, 3072]
    assert find("mini").prompt_budget(find("mini").context) == find("mini").max_input_tokens


@pytest.mark.parametrize("name", ["no-such", "./no/such", "a/b/c", "../x", "", "a b/c", "owner/", "[red]x", "\U0001f389"])
def test_unknown_names_are_not_found_and_the_known_ones_listed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound) as caught:
        find(name)
    assert "qwen2.5-7b" in caught.value.hint


def test_folders_and_files_that_are_no_models(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(NotFound, match="no model"):
            find(str(path))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_damaged_config(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadInput, match="config.json"):
        find(str(tmp_path))
