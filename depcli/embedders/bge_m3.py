"""BAAI/bge-m3: 1024-d dense CLS vectors, unit norm; float32 on a CPU, half precision on a GPU.

FlagEmbedding loads it. The encoder is called directly: FlagEmbedding's own `encode` passes the first batch of every call twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depcli.backbones.load import without_progress_bars
from depcli.embedders.batching import CPU_TOKENS, GPU_TOKENS, encode_by_length
from depcli.errors import NotFound
from depcli.records import EmbedderIdentity

REPOSITORY = "BAAI/bge-m3"
DOWNLOAD = f"{REPOSITORY} from the Hugging Face hub, about 2.3 GB"
_FILES = ["*.json", "*.bin", "*.pt", "sentencepiece*"]  # not the ONNX copy, another 2.3 GB
_MAX_TOKENS = 8192
LOCAL = "local-"  # how the revision of a folder begins


def cached() -> str | None:
    """The folder of the weights on this machine, or None: what DEP_BGE_M3 names, else the hub's cache. Touches no network. Raises
    NotFound when what is named is no such folder."""
    if named := os.path.expanduser(os.environ.get("DEP_BGE_M3", "")):
        if not is_folder(named):
            raise NotFound(f"DEP_BGE_M3 names no folder of a bge-m3 model: {named}", "give it its files, or leave it out")
        return named
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(REPOSITORY, "config.json")
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return str(folder) if is_folder(str(folder)) else None


def download() -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(REPOSITORY, allow_patterns=_FILES)


def is_folder(path: str) -> bool:
    folder = Path(path)
    heads = all((folder / f"{head}_linear.pt").is_file() for head in ("colbert", "sparse"))
    return heads and any((folder / name).is_file() for name in ("pytorch_model.bin", "model.safetensors"))


class BgeM3:
    """bge-m3 from the local cache, or from a folder with the same files. `revision` is the hub's commit, or for a folder
    a digest of its configuration and the size of its weights."""

    def __init__(self, folder: str | None = None):
        self._folder = folder or cached()
        root = Path(self._folder)
        config = (root / "config.json").read_bytes()
        if root.parent.name == "snapshots":
            revision = root.name
        else:
            sizes = [
                f"{path.name}:{path.stat().st_size}"
                for path in sorted(root.glob("*model*"))
                if path.suffix in (".bin", ".safetensors")
            ]
            revision = LOCAL + hashlib.sha256(config + "|".join(sizes).encode()).hexdigest()[:16]
        import json

        self.identity = EmbedderIdentity("bge-m3", revision, json.loads(config)["hidden_size"])
        self._model = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (n, d) float32."""
        if self._model is None:
            self._load()
        return encode_by_length(
            texts,
            self._tokenizer,
            self._cls,
            self.identity.dimension,
            max_tokens=self._max_tokens,
            batch_tokens=CPU_TOKENS if self._model.device.type == "cpu" else GPU_TOKENS,
        )

    def _load(self) -> None:
        import torch
        from FlagEmbedding import BGEM3FlagModel

        gpu = torch.cuda.is_available()
        with without_progress_bars():
            loaded = BGEM3FlagModel(self._folder, use_fp16=gpu, devices="cuda:0" if gpu else "cpu")
        self._tokenizer = loaded.tokenizer
        self._max_tokens = min(_MAX_TOKENS, self._tokenizer.model_max_length)
        encoder = loaded.model.model.eval()
        self._model = encoder.half().to("cuda") if gpu else encoder.float()

    def _cls(self, ids, mask) -> np.ndarray:
        import torch

        device = self._model.device
        with torch.inference_mode():
            states = self._model(ids.to(device), attention_mask=None if mask is None else mask.to(device)).last_hidden_state
        rows = states[:, 0].float().cpu().numpy()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
