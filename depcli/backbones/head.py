"""Logits from last hidden states, as the model itself makes them: some architectures scale what the linear layer of their head
gives (Cohere, Granite) or what it gets (MiniCPM3), or cap it (Gemma 2)."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from depcli.errors import Incompatible


class Head:
    """The model's own forward pass, with given states in place of what its decoder would make."""

    def __init__(self, model):
        self._model = model

    @property
    def vocabulary(self) -> int:
        return self._model.get_output_embeddings().weight.shape[0]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, vocabulary) from last hidden states (n, H). Raises Incompatible where the decoder lies elsewhere than usual."""
        decoder, asked = self._model.get_decoder(), []
        before = vars(decoder).get("forward")
        decoder.forward = lambda *_, **__: asked.append(True) or _Outputs(last_hidden_state=hidden[None])
        try:
            logits = self._model(inputs_embeds=hidden[None], use_cache=False).logits[0]
        finally:
            del decoder.forward
            if before:
                decoder.forward = before
        if not asked:
            raise Incompatible(f"how {self._model.config.model_type} makes logits is not known", "use another backbone")
        return logits


class _Outputs(SimpleNamespace):
    """What a decoder returns, of which all else is missing."""

    def __getitem__(self, index):
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name):
        return None
