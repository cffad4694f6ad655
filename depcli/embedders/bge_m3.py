"""BAAI/bge-m3 through FlagEmbedding: 1024-d dense CLS vectors, unit norm; float32 on a CPU, half precision on a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depcli.embedders.batching import encode_by_length
from depcli.records import EmbedderIdentity

REPOSITORY = "BAAI/bge-m3"
DOWNLOAD = f"{REPOSITORY} from the Hugging Face hub, about 2.3 GB"
_FILES = ["*.json", "*.bin", "*.pt", "sentencepiece*"]  # not the ONNX copy, another 2.3 GB
_MAX_TOKENS = 8192


def cached() -> str | None:
    """The folder of the cached weights, or None. Touches no network."""
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
            revision = "local-" + hashlib.sha256(config + "|".join(sizes).encode()).hexdigest()[:16]
        import json

        self.identity = EmbedderIdentity("bge-m3", revision, json.loads(config)["hidden_size"])
        self._model = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (n, d) float32."""
        if self._model is None:
            import torch
            from FlagEmbedding import BGEM3FlagModel

            gpu = torch.cuda.is_available()
            self._model = BGEM3FlagModel(
                self._folder, use_fp16=gpu, devices="cuda:0" if gpu else "cpu", normalize_embeddings=True
            )
            self._max_tokens = min(_MAX_TOKENS, self._model.tokenizer.model_max_length)
        return encode_by_length(texts, self._encode_batch, self.identity.dimension, batch_size=16)

    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        dense = self._model.encode(texts, batch_size=len(texts), max_length=self._max_tokens)["dense_vecs"]
        rows = np.asarray(dense, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)  # half precision leaves the norm a little off
