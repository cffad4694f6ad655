"""For every test: temporary homes instead of the user's folders, no network, one thread. Set before anything heavy is imported,
because libraries read these variables once."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile

import pytest

_HOME = tempfile.mkdtemp(prefix="dep-tests-")
os.environ.update({"HOME": _HOME, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"})
os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "NLTK_DATA", "NO_COLOR", "COLUMNS"):
    os.environ.pop(_name, None)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes are started: each would compile everything again


def pytest_unconfigure():
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """Every test has a store folder of its own and no way out of this machine."""
    monkeypatch.setenv("DEP_PROFILES", str(tmp_path / "profiles"))
    connect = socket.socket.connect

    def only_here(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise RuntimeError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory):
    """Folder of a random Qwen2 model (hidden size 64, context 2,048): safetensors, tokenizer, tiny.gguf. Do not write to it."""
    from tests.tiny import build_tiny_backbone

    return build_tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture(scope="session")
def compact_backbone(tmp_path_factory, tiny_backbone):
    """The same, asked as small backbones are: its tiny vocabulary makes about one token of a character. Do not write to it."""
    from tests.tiny import ask_as_small

    return ask_as_small(shutil.copytree(tiny_backbone, tmp_path_factory.mktemp("compact") / "tiny"))


@pytest.fixture(scope="session")
def backbone(compact_backbone):
    """That one as the parts of `dep` are given it."""
    from depcli import backbones

    return backbones.find(str(compact_backbone))
