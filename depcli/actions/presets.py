"""`--preset`: the options of a published row, and how what happens here differs from what was published."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from depcli.backbones.catalogue import Backbone

_PROMPT_TOKENS = 2048  # the paper's; the authors' code has 3072
_TEMPLATE = "full"  # the fields of the paper's prompts, whole, and its guidance
_ROW = {
    "backbone": "qwen2.5-7b",
    "history": 8,
    "retrieval": "recency",
    "temperature": 0.8,
    "top_p": 0.95,
    "max_new_tokens": 2048,
}
_LEARNED = {
    "epochs": 5,
    "batch_size": 16,
    "learning_rate": 1e-5,
    "select_by": "meteor",
    "targets_per_user": 1,
    "max_input_tokens": _PROMPT_TOKENS,
}
_EVERY = (
    "data: this store, each user's last review; the papers test on Amazon Books, Movies & TV and CDs & Vinyl",
    "wording of the prompts: our own",
)
_TRAINED = (
    "training stops after two epochs without a better validation",
    "soft tokens are scaled by the mean norm of token embeddings: markers start at it, projected ones at 0.1 to 0.7 of it",
    "precision: bfloat16 on a GPU alone, float32 on a CPU",
)


@dataclass(frozen=True)
class Preset:
    """`options` are those of any command, by parameter name; a command takes the ones it has. `learned` are those of `dep train`
    alone, and what an adapter is compared with. `embedder` is the one of the paper, where vectors matter."""

    row: str
    method: str
    options: Mapping[str, object] = field(default_factory=lambda: _ROW)
    learned: Mapping[str, object] = field(default_factory=dict)
    embedder: str | None = None
    departures: tuple[str, ...] = _EVERY


PRESETS = {
    "nonperso-paper": Preset("Non-Perso 7B, DEP paper", "nonperso"),
    "rag-paper": Preset("RAG 7B, DEP paper", "rag"),
    "pag-paper": Preset("PAG 7B, DEP paper", "pag"),
    "dpl-paper": Preset("DPL 7B, DEP paper", "dpl"),
    "drp-paper": Preset(
        "DRP 14B with a 32B reasoning extractor, DRP paper",
        "drp",
        {**_ROW, "backbone": "Qwen/Qwen2.5-14B-Instruct", "analyst": "transformers:Qwen/QwQ-32B"},
        departures=(
            *_EVERY,
            "models: of writer and extractor only the sizes are known here, 14B and 32B; these two stand in",
            "sampling: DEP's, as the DRP paper's is not known here",
            "at most 8 dimensions are proposed for one review",
        ),
    ),
    "pplug-paper": Preset(
        "PPlug 7B, DEP paper",
        "pplug",
        _ROW,
        _LEARNED,
        "bge-m3",
        (*_EVERY, *_TRAINED, "training: with DEP's settings, as PPlug's own are not known here"),
    ),
    "dep-paper": Preset(
        "DEP 7B, DEP paper",
        "dep",
        {**_ROW, "embeddings": "both", "review_text": True, "guidance": True, "peer_weighting": "mean", "min_peers": 1},
        {**_LEARNED, "reduction": "sae"},
        "bge-m3",
        (*_EVERY, *_TRAINED, "autoencoder: the encoder ends in a sigmoid, the decoder is linear (the authors': in GELU)"),
    ),
}


def options_of(preset: Preset, known: Collection[str]) -> dict[str, object]:
    """What the preset sets of a command with these parameters."""
    everything = {"method": preset.method, "methods": (preset.method,), **preset.options, **preset.learned}
    return {name: value for name, value in everything.items() if name in known}


def deviations(
    preset: Preset, found: Mapping[str, object], *, embedder: str, backbone: Backbone, engine: str | None, trained: Mapping | None
) -> list[str]:
    """Every way in which a command with the options `found` departs from the published row: what was asked for instead, what the
    store, the engine (None when training) and the adapter (its configuration `trained`) bring, and what is built otherwise."""
    wanted = options_of(preset, found)
    said = [_instead(name, found[name], value) for name, value in wanted.items() if _differs(found[name], value)]
    if preset.embedder and embedder != preset.embedder:
        said.append(_instead("embedder", embedder, preset.embedder))
    if trained:
        learned = {name: value for name, value in preset.learned.items() if name not in found}
        said += [_instead(name, trained[name], value) for name, value in learned.items() if trained.get(name, value) != value]
    elif "max_input_tokens" not in found:
        said.append(_instead("tokens in a prompt", backbone.max_input_tokens, _PROMPT_TOKENS))
    template = (trained or found).get("template") or backbone.template
    if template != _TEMPLATE:  # the name of a bundled one, or a path, or in an adapter the text
        said.append(_instead("template", template if template.replace("-", "").isalnum() else "one of its own", _TEMPLATE))
    if engine == "llamacpp" and isinstance(backbone.gguf, tuple):
        said.append(_instead("weights", backbone.gguf[1], "bfloat16"))
    return [*said, *preset.departures]


def _differs(found: object, paper: object) -> bool:
    return not set(paper) <= set(found) if isinstance(paper, tuple) else found != paper  # of methods there may be more


def _instead(name: str, found: object, paper: object) -> str:
    found, paper = (", ".join(one) if isinstance(one, tuple) else one for one in (found, paper))
    return f"{name.replace('_', ' ')}: {found} instead of {paper}"
