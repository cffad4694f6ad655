"""A pass through a frozen backbone that computes, and keeps for the backward pass, only what a loss or a gradient depends on.

Two things are left out, and the numbers stay the same within rounding (tests/backbones/test_passes.py):
- positions before the first soft token get no gradient: they run without a graph, and only their keys and values are kept;
- what the feed-forward part of the last layer makes of positions that are no target: nobody reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from depcli.errors import Incompatible

_CONTINUED = "dep-continued"
_BY_LENGTH = ("dynamic", "longrope")  # rotations whose angles depend on how many positions there are in all
_WORTH_IT = 16  # positions: a shorter beginning costs more in calls than it saves


def hidden_at(model, embeds: torch.Tensor, at: tuple[torch.Tensor, torch.Tensor], fixed: int) -> torch.Tensor:
    """(n, H) last hidden states at (rows, positions) `at` of right-padded `embeds` (B, T, H), causal attention.

    The first `fixed` positions hold no soft token in any row; all positions of `at` lie behind them. Raises Incompatible for a
    model whose decoder lies elsewhere than usual.
    """
    rows, positions = at
    start = None
    if model.base_model is model:  # it would make logits
        raise Incompatible(f"where {model.config.model_type} keeps its decoder is not known", "use another backbone")
    if fixed >= _WORTH_IT and embeds.requires_grad and torch.is_grad_enabled():
        start = _start(model, embeds[:, :fixed])
    if start is None:
        with _last_layer_only_at(model, at):
            states = model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return states[rows, positions]
    at = rows, positions - fixed
    with _last_layer_only_at(model, at), _attention(model.config, _CONTINUED):
        rest = model.base_model(inputs_embeds=embeds[:, fixed:], past_key_values=start, use_cache=True)
    return rest.last_hidden_state[at]


class _FixedLayer(DynamicLayer):
    """Keys and values of the beginning, which what follows is added to without being kept: a second pass, as gradient
    checkpointing makes, finds the same."""

    def update(self, key_states, value_states, *args, **kwargs):
        return torch.cat([self.keys, key_states], dim=-2), torch.cat([self.values, value_states], dim=-2)


@torch.no_grad()
def _start(model, embeds: torch.Tensor) -> DynamicCache | None:
    """Keys and values of the beginning; None where they would be others in the whole, or where attention is not plainly causal in
    every layer."""
    rotation = getattr(getattr(model.base_model, "rotary_emb", None), "rope_type", None)
    if model.config._attn_implementation != "sdpa" or rotation in _BY_LENGTH:
        return None
    one = torch.zeros(1, dtype=torch.long, device=embeds.device)  # nobody reads it, but not every kernel takes none
    with _last_layer_only_at(model, (one, one)):
        cache = model.base_model(inputs_embeds=embeds, use_cache=True).past_key_values
    if not all(type(layer) is DynamicLayer for layer in getattr(cache, "layers", [None])):
        return None
    for i, layer in enumerate(cache.layers):
        kept = cache.layers[i] = _FixedLayer()
        kept.lazy_initialization(layer.keys, layer.values)
        kept.keys, kept.values = layer.keys, layer.values
    return cache


def _attend(module, query, key, value, attention_mask, **kwargs):
    """Causal attention of queries that stand at the end of the keys. Empty queries fill the front, so that it is square and SDPA
    takes its causal kernel: with a mask it would need another, slower one, and a copy of the keys for every head."""
    missing = key.shape[2] - query.shape[2]
    query = F.pad(query.transpose(1, 2), (0, 0, 0, 0, missing, 0)).transpose(1, 2)  # laid out as it is read
    states, weights = sdpa_attention_forward(module, query, key, value, None, **kwargs)
    return states[:, missing:], weights


AttentionInterface.register(_CONTINUED, _attend)  # unknown to transformers' masks, which therefore makes none


@contextmanager
def _attention(config, implementation: str) -> Iterator[None]:
    before, config._attn_implementation = config._attn_implementation, implementation
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def _last_layer_only_at(model, at: tuple[torch.Tensor, torch.Tensor]) -> Iterator[None]:
    """Within, the feed-forward part of the last layer runs at these positions alone, and adds nothing elsewhere."""
    mlp = getattr(layers_of(model)[-1], "mlp", None)
    if not hasattr(mlp, "down_proj"):  # experts, or another layout: left as it is
        yield
        return
    shape = []

    def pick(module, inputs):
        shape[:] = [inputs[0].shape]
        return (inputs[0][at],)

    def put(module, inputs, output):
        return output.new_zeros(shape[0]).index_put(at, output)

    hooks = mlp.register_forward_pre_hook(pick), mlp.register_forward_hook(put)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def checkpoint_layers(model) -> None:
    """Keep only each layer's input for the backward pass and compute the layer again there: much less memory, half more work.

    The last layer keeps what it made: it is the first to be needed again. Raises Incompatible where layers cannot be found.
    """
    layers = layers_of(model)
    if layers[-1] is None:
        message = f"gradient checkpointing does not know the layout of {model.config.model_type}"
        raise Incompatible(message, "leave --checkpointing out")
    for layer in layers[:-1]:
        layer.forward = partial(_checkpointed, layer.forward, model.config)


def _checkpointed(forward, config, *args, **kwargs):
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    implementation = config._attn_implementation  # the second time is long after the pass

    def again(*args, **kwargs):
        with _attention(config, implementation):
            return forward(*args, **kwargs)

    return checkpoint(again, *args, use_reentrant=False, **kwargs)


def layers_of(model) -> Sequence[torch.nn.Module | None]:
    """The decoder layers of a Hugging Face model; [None] where they lie elsewhere than usual."""
    return getattr(model.base_model, "layers", [None])
