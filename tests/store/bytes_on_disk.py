"""What a thorough finder reads in a folder: the bytes of every file, and of whatever is zstd-compressed in it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path

import pyarrow as pa

_ZSTD = bytes.fromhex("28b52ffd")  # the first bytes of a frame


def found(folder: Path, needles: Mapping[Hashable, bytes]) -> dict[Hashable, list[str]]:
    """The names of the needles that are anywhere in the folder, with the files (their names count as content too)."""
    hits: dict[Hashable, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        content = [name.encode(), *(_layers(path.read_bytes()) if path.is_file() else ())]
        for needle, data in needles.items():
            if any(data in layer for layer in content):
                hits.setdefault(needle, []).append(name)
    return hits


def _layers(data: bytes) -> list[bytes]:
    layers, start = [data], data.find(_ZSTD)
    while start >= 0:
        layers.append(_decompressed(data[start:]))
        start = data.find(_ZSTD, start + 1)
    return layers


def _decompressed(data: bytes) -> bytes:
    """The first frame in `data`, as far as it goes: what follows it is something else."""
    content = b""
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        try:
            while piece := stream.read(1024):
                content += piece
        except OSError:
            pass
    return content
