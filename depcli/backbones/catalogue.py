"""Backbones by name, folder or hub id: what is known about one before any weight is loaded."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from depcli.errors import BadInput, NotFound

MINI = Path(__file__).parent / "mini" / "weights"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
# Only the first part of a split GGUF is named; llama.cpp finds the others beside it.
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class Backbone:
    """A frozen language model to write with. Nothing is loaded or fetched yet.

    `weights` is a folder or a hub id, `gguf` a file or (hub id, file name) or None when no GGUF is known. `context` is the number
    of positions, None for a hub model that is not in the catalogue. `template` names the prompt template, `max_input_tokens`
    the default prompt budget. `weights_size` and `gguf_size` are download sizes in bytes, None where unknown or local.
    """

    name: str
    weights: Path | str
    gguf: Path | tuple[str, str] | None = None
    revision: str | None = None
    context: int | None = None
    template: str = "full"
    max_input_tokens: int = 3072
    weights_size: int | None = None
    gguf_size: int | None = None

    @property
    def is_local(self) -> bool:
        return isinstance(self.weights, Path)

    def prompt_budget(self, context: int) -> int:
        """Tokens that a prompt may have by default: half of a `context` (positions) where it would leave less than a quarter."""
        return self.max_input_tokens if self.max_input_tokens <= context * 3 // 4 else context // 2


def _qwen(size: str, gguf_file: str, weights_size: float, gguf_size: float) -> Backbone:
    hub_id = f"Qwen/Qwen2.5-{size.upper()}-Instruct"
    return Backbone(
        f"qwen2.5-{size}",
        hub_id,
        (f"{hub_id}-GGUF", f"qwen2.5-{size}-instruct-{gguf_file}"),
        context=32768,
        weights_size=round(weights_size * 1e9),
        gguf_size=round(gguf_size * 1e9),
    )


# Sizes in GB. The small ones in 8 bits, the large ones in 4, so that each fits the memory of the machine it is meant for.
_QWEN = (
    _qwen("0.5b", "q8_0.gguf", 1.00, 0.68),
    _qwen("1.5b", "q8_0.gguf", 3.10, 1.89),
    _qwen("7b", "q4_k_m-00001-of-00002.gguf", 15.24, 4.68),
    _qwen("32b", "q4_k_m-00001-of-00005.gguf", 65.54, 19.85),
)
NAMES = ("mini", *(entry.name for entry in _QWEN))


def find(name: str) -> Backbone:
    """The backbone called `name`: a catalogue name, a model folder, a .gguf file, or a hub id such as Qwen/Qwen3-8B.

    Raises NotFound when it is none of these, BadInput when a folder's config.json cannot be read.
    """
    if name.lower() == "mini":
        return _folder(MINI, "mini")
    for entry in _QWEN:
        if name.lower() in (entry.name, str(entry.weights).lower()):
            return entry
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for a user that is not there
    if path.is_dir():
        return _folder(path.resolve(), path.resolve().name)
    if path.is_file() and path.suffix == ".gguf":
        return Backbone(path.stem, path.resolve().parent, path.resolve())
    if path.exists():
        raise NotFound(f"{name} is no model folder and no .gguf file", _hint())
    if _HUB_ID.fullmatch(name) and not name.startswith("."):
        return Backbone(name, name)
    raise NotFound(f"no backbone {name!r}", _hint())


def served(model: str) -> Backbone:
    """What an endpoint serves as `model`; a name of the catalogue brings its template and prompt budget along."""
    return replace(find(model), name=model) if model.lower() in NAMES else Backbone(model, model)


def _hint() -> str:
    return f"give {', '.join(NAMES)}, a folder with config.json and weights, a .gguf file, or a hub id (owner/model)"


def _folder(path: Path, name: str) -> Backbone:
    ggufs = [file for file in sorted(path.glob("[!.]*.gguf")) if _first_part(file.name)]
    gguf = ggufs[0] if len(ggufs) == 1 else None
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        if gguf is None:
            raise NotFound(f"{path} holds no model: neither config.json nor one .gguf file", _hint()) from None
        config = {}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path / 'config.json'}: {error}", "fetch or save the model again") from error
    ours = config.get("dep") or {}  # written by recipes/convert.py: how the model was pre-trained to be asked
    known = {key: ours[key] for key in ("template", "max_input_tokens") if key in ours}
    return Backbone(name, path, gguf, context=config.get("max_position_embeddings"), **known)


def _first_part(file_name: str) -> bool:
    part = _PART.search(file_name)
    return part is None or int(part[1]) == 1


def gguf_parts(file_name: str) -> list[str]:
    """All files of a GGUF whose first part is `file_name`; just that when it is not split."""
    part = _PART.search(file_name)
    if part is None:
        return [file_name]
    return [f"{file_name[: part.start()]}-{i:05}-of-{part[2]}.gguf" for i in range(1, int(part[2]) + 1)]
