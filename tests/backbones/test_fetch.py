"""What is on this machine and what is not, with a hub cache laid out as huggingface_hub does."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from depcli.backbones import Backbone, find, fingerprint, gguf_file, load_model, load_tokenizer, needed, weights_folder
from depcli.errors import NeedsNetwork, NotFound

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Puts files of a folder into an empty hub cache as a repo's snapshot, blobs linked as the hub client links them."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(repo: str, files: dict[str, Path]):
        root = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        snapshot = root / "snapshots" / COMMIT
        for folder in (root / "refs", root / "blobs", snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text(COMMIT)
        for name, source in files.items():
            shutil.copy(source, root / "blobs" / f"blob-{name}")
            os.symlink(f"../../blobs/blob-{name}", snapshot / name)
        return snapshot

    return put


def test_nothing_cached_offline_says_how_to_get_it(cache):
    for name in ("qwen2.5-0.5b", "qwen2.5-7b", "owner/other"):
        backbone = find(name)
        for ask in (load_tokenizer, load_model, weights_folder, lambda b, offline: needed(b, "weights", offline=offline)):
            with pytest.raises(NeedsNetwork, match="not on this machine") as caught:
                ask(backbone, offline=True)
            assert f"hf download {backbone.weights}`" in caught.value.hint and "or mini" in caught.value.hint
            assert "--backbone" not in caught.value.hint, "it may be an analyst or a judge"
    with pytest.raises(NeedsNetwork) as caught:
        gguf_file(find("qwen2.5-7b"), offline=True)
    assert "qwen2.5-7b-instruct-q4_k_m-00002-of-00002.gguf`" in caught.value.hint


def test_the_environment_variable_counts_like_the_option(cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert needed(find("qwen2.5-7b"), "weights").size == find("qwen2.5-7b").weights_size
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NeedsNetwork):
        needed(find("qwen2.5-7b"), "weights")


def test_what_would_be_fetched_is_named_with_its_size(cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert str(needed(find("qwen2.5-0.5b"), "gguf")) == "Qwen/Qwen2.5-0.5B-Instruct-GGUF (0.68 GB)"
    assert len(needed(find("qwen2.5-32b"), "gguf").files) == 5


def test_a_cached_model_loads_offline_and_is_known_by_its_commit(cache, tiny_backbone):
    files = {path.name: path for path in tiny_backbone.iterdir() if path.suffix != ".gguf"}
    snapshot = cache("owner/other", files)
    backbone = find("owner/other")
    assert needed(backbone, "weights", offline=True) is None
    assert weights_folder(backbone, offline=True) == snapshot
    model = load_model(backbone, offline=True)
    assert fingerprint(backbone, model.config)["revision"] == COMMIT
    assert load_tokenizer(backbone, offline=True).eos_token == "<|im_end|>"


@pytest.mark.parametrize("absent", ["model.safetensors", "config.json", "tokenizer.json"])
def test_half_a_download_is_not_a_model(cache, tiny_backbone, absent):
    cache("owner/other", {p.name: p for p in tiny_backbone.iterdir() if p.name != absent})
    with pytest.raises(NeedsNetwork):
        weights_folder(find("owner/other"), offline=True)


def test_a_shard_that_is_missing_is_noticed(cache, tiny_backbone, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}')
    names = ("config.json", "tokenizer.json")
    files = {name: tiny_backbone / name for name in names} | {index.name: index}
    cache("owner/other", files | {"model-00001-of-00002.safetensors": tiny_backbone / "model.safetensors"})
    with pytest.raises(NeedsNetwork):
        weights_folder(find("owner/other"), offline=True)


def test_split_gguf_is_cached_only_with_all_parts(cache, tiny_backbone):
    backbone = Backbone("split", "owner/other", ("owner/other-GGUF", "m-00001-of-00002.gguf"))
    cache("owner/other-GGUF", {"m-00001-of-00002.gguf": tiny_backbone / "tiny.gguf"})
    with pytest.raises(NeedsNetwork):
        gguf_file(backbone, offline=True)
    snapshot = cache("owner/other-GGUF", {"m-00002-of-00002.gguf": tiny_backbone / "tiny.gguf"})
    assert gguf_file(backbone, offline=True) == snapshot / "m-00001-of-00002.gguf"


def test_no_gguf_known_tells_how_to_make_one():
    with pytest.raises(NotFound, match="no GGUF") as caught:
        gguf_file(find("owner/other"))
    assert "python -m depcli.backbones.gguf" in caught.value.hint


def test_a_part_of_a_local_split_gguf_that_is_gone(tmp_path):
    (tmp_path / "m-00001-of-00002.gguf").touch()
    with pytest.raises(NotFound, match="m-00002-of-00002.gguf is missing"):
        gguf_file(find(str(tmp_path)))


@pytest.fixture
def hub(monkeypatch):
    """Let the hub be at this address, and the network be there."""
    from huggingface_hub import constants

    def at(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    return at


@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "owner/other"])
def test_a_hub_that_cannot_be_reached_is_no_bug(cache, hub, name):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    hub(f"http://127.0.0.1:{port}")
    with pytest.raises(NeedsNetwork, match="cannot be fetched"):
        weights_folder(find(name))


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (404, "RepoNotFound", NotFound, "the hub has no model owner/other"),
        (403, "GatedRepo", NotFound, "asks for a licence to be accepted"),
        (400, "", NeedsNetwork, "cannot be fetched"),
    ],
)
def test_what_the_hub_refuses_is_said(cache, hub, status, code, error, said):
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub(f"http://127.0.0.1:{server.server_port}")
        for ask in (weights_folder, lambda backbone: needed(backbone, "weights", offline=False)):
            with pytest.raises(error, match=said):
                ask(find("owner/other"))
        server.shutdown()
