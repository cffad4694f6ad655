"""Where the files of a backbone lie: its folder or the Hugging Face cache, filled from the hub when that is allowed.

Ask `needed` first and show its answer to the user: `weights_folder` and `gguf_file` fetch without asking.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from depcli.backbones.catalogue import Backbone, gguf_parts
from depcli.errors import BadInput, Incompatible, NeedsNetwork, NotFound

_MODEL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "model*.safetensors")


@dataclass(frozen=True)
class Download:
    """What would be fetched: `repo` on the hub, its files (glob patterns), size in bytes (None if the hub does not say)."""

    repo: str
    files: tuple[str, ...]
    size: int | None

    def __str__(self) -> str:
        size = "of unknown size" if self.size is None else f"{self.size / 1e9:.2f} GB"
        return f"{self.repo} ({size})"


def needed(backbone: Backbone, form: Literal["weights", "gguf"], *, offline: bool = False) -> Download | None:
    """What loading `form` would have to fetch; None when it is here. Asks the hub for the size if the catalogue has none.

    Raises NeedsNetwork offline, NotFound when there is nothing to fetch.
    """
    if form == "weights":
        if backbone.is_local or _cached_weights(backbone):
            return None
        repo, files, size = backbone.weights, _MODEL_FILES, backbone.weights_size
    else:
        if not isinstance(backbone.gguf, tuple) or _cached_gguf(*backbone.gguf):
            return None
        repo, files, size = backbone.gguf[0], tuple(gguf_parts(backbone.gguf[1])), backbone.gguf_size
    if _is_offline(offline):
        raise _needs_network(backbone, repo, form)
    return Download(repo, files, size if size is not None else _size_on_hub(backbone, repo, files, form))


def weights_folder(backbone: Backbone, *, offline: bool = False) -> Path:
    """The folder with config, tokenizer and safetensors, fetched if need be. Raises NotFound, NeedsNetwork."""
    if backbone.is_local:
        absent = _absent(backbone.weights)
        if absent:
            hint = "give a folder with config.json, tokenizer.json and *.safetensors"
            raise NotFound(f"{backbone.weights} lacks {absent}", hint)
        return backbone.weights
    folder = _cached_weights(backbone)
    if folder is None:
        if _is_offline(offline):
            raise _needs_network(backbone, backbone.weights, "weights")
        from huggingface_hub import snapshot_download

        with _hub_errors(backbone, backbone.weights, "weights"):
            folder = Path(snapshot_download(backbone.weights, revision=backbone.revision, allow_patterns=list(_MODEL_FILES)))
        absent = _absent(folder)
        if absent:
            raise Incompatible(f"{backbone.weights} on the hub has no {absent}", "choose one with safetensors and a tokenizer")
    return folder


def gguf_file(backbone: Backbone, *, offline: bool = False) -> Path:
    """The GGUF file (its first part), fetched if need be. Raises NotFound, NeedsNetwork, BadInput when a part is missing."""
    if backbone.gguf is None:
        raise NotFound(
            f"no GGUF is known for the backbone {backbone.name}",
            "use --engine transformers; or make one with `python -m depcli.backbones.gguf MODEL_FOLDER MODEL_FOLDER/model.gguf` "
            "and give --backbone MODEL_FOLDER (exactly one .gguf file in it)",
        )
    if isinstance(backbone.gguf, Path):
        for part in gguf_parts(backbone.gguf.name):
            if not (backbone.gguf.parent / part).is_file():
                raise NotFound(f"{backbone.gguf.parent / part} is missing", "all parts of a split GGUF must lie in one folder")
        return backbone.gguf
    repo, name = backbone.gguf
    found = _cached_gguf(repo, name)
    if found is None:
        if _is_offline(offline):
            raise _needs_network(backbone, repo, "gguf")
        from huggingface_hub import snapshot_download

        with _hub_errors(backbone, repo, "gguf"):
            found = Path(snapshot_download(repo, allow_patterns=gguf_parts(name))) / name
        if not found.is_file():
            raise NotFound(f"{repo} on the hub has no {name}")
    return found


def _absent(folder: Path) -> str:
    """What a model folder lacks, in words; '' when it is complete. Half a download is not complete."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return "tokenizer.json"
    index = folder / "model.safetensors.index.json"
    shards = ["model.safetensors"]
    if index.is_file() and not (folder / shards[0]).is_file():
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise BadInput(f"{index} is damaged", "fetch or save the model again") from error
    return next((name for name in shards if not (folder / name).is_file()), "")


def _cached_weights(backbone: Backbone) -> Path | None:
    config = _cached(backbone.weights, "config.json", backbone.revision)
    return config.parent if config and not _absent(config.parent) else None


def _cached_gguf(repo: str, name: str) -> Path | None:
    parts = [_cached(repo, part) for part in gguf_parts(name)]
    return parts[0] if all(parts) and len({part.parent for part in parts}) == 1 else None


def _cached(repo: str, name: str, revision: str | None = None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _is_offline(asked: bool) -> bool:
    from huggingface_hub import constants

    # The constant is read when the package is imported; the variable may have been set since.
    return asked or constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _needs_network(backbone: Backbone, repo: str, form: str) -> NeedsNetwork:
    command = " ".join(["hf download", repo, *(gguf_parts(backbone.gguf[1]) if form == "gguf" else ())])
    return NeedsNetwork(
        f"{repo} ({'GGUF' if form == 'gguf' else 'weights'} of {backbone.name}) is not on this machine and cannot be fetched",
        f"with a network: `{command}`; or name a folder that holds it in its place, or mini, which comes with dep",
    )


def _size_on_hub(backbone: Backbone, repo: str, patterns: tuple[str, ...], form: str) -> int | None:
    from huggingface_hub import HfApi

    with _hub_errors(backbone, repo, form):
        info = HfApi().model_info(repo, revision=backbone.revision, files_metadata=True)
    sizes = [file.size for file in info.siblings or () if any(fnmatch(file.rfilename, pattern) for pattern in patterns)]
    return sum(sizes) if sizes and None not in sizes else None


@contextmanager
def _hub_errors(backbone: Backbone, repo: str, form: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        hint = f"accept it on huggingface.co/{repo}, then `hf auth login`"
        raise NotFound(f"{repo} asks for a licence to be accepted", hint) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise NotFound(f"the hub has no model {repo}", "check the spelling; a private one needs `hf auth login`") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, ConnectionError, errors.HTTPError) as error:
        raise _needs_network(backbone, repo, form) from error
