"""Rows of a GGUF's token embedding table, to the last bit those that llama.cpp reads for token ids: text that can stand in one
batch with soft tokens.

Header and rows are read by the library's own functions; the gguf package takes seconds for the header of a large vocabulary.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import llama_cpp as lib
import numpy as np

from depcli.backbones.catalogue import gguf_parts

# Where llama.cpp takes a given row as it takes a row of its table. Elsewhere it may scale the one and not the other (Gemma 3), or
# look up more by the token's id (Gemma 3n). Each of these is tested.
PLAIN = frozenset({"llama", "mistral3", "phi3", "qwen2", "qwen3", "qwen3moe", "smollm3"})
_CONVERSIONS = {"f16": "ggml_fp16_to_fp32_row", "bf16": "ggml_bf16_to_fp32_row"}  # the others: dequantize_row_ and their name


class EmbeddingTable:
    """A table (tokens, bytes of a row) in a file; nothing but the rows asked for is read. `dtype` is the library's name of it.

    Raises AttributeError for a dtype that the library cannot convert.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, int], width: int, dtype: str):
        self._table, self._width = np.memmap(path, np.uint8, "r", offset, shape), width
        name = _CONVERSIONS.get(dtype, f"dequantize_row_{dtype}")
        self._convert = None if dtype == "f32" else _function(name, None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """The embeddings (n, width) float32 of token ids (n,)."""
        stored = self._table[ids]
        if self._convert is None:
            return stored.view(np.float32)
        rows = np.empty((len(ids), self._width), np.float32)
        self._convert(stored.ctypes.data, rows.ctypes.data, rows.size)
        return rows


def embedding_table(path: Path, architecture: str | None) -> EmbeddingTable | None:
    """The table of the GGUF at `path`, the first part of it where it is split. None where rows would not do for tokens."""
    if architecture not in PLAIN:
        return None
    try:
        tables = (_find(path.with_name(part)) for part in gguf_parts(path.name))
        return next((table for table in tables if table), None)
    except AttributeError:  # another release of the library, without one of the functions
        return None


def _find(path: Path) -> EmbeddingTable | None:
    pointer, number, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
    file = _function("gguf_init_from_file", pointer, ctypes.c_char_p, _HeaderOnly)(os.fsencode(path), _HeaderOnly(True, None))
    if not file:
        return None
    try:
        tensor = _function("gguf_find_tensor", number, pointer, ctypes.c_char_p)(file, b"token_embd.weight")
        if tensor < 0:
            return None

        def told(name: str, result: type):
            return _function(f"gguf_get_tensor_{name}", result, pointer, number)(file, tensor)

        start = _function("gguf_get_data_offset", size, pointer)(file) + told("offset", size)
        width, tokens = told("ne", ctypes.POINTER(number))[:2]
        dtype = _function("ggml_type_name", ctypes.c_char_p, ctypes.c_int)(told("type", ctypes.c_int)).decode()
        return EmbeddingTable(path, start, (tokens, told("size", size) // tokens), width, dtype)
    finally:
        _function("gguf_free", None, pointer)(file)


class _HeaderOnly(ctypes.Structure):
    """gguf_init_params: no memory for the weights, and no description of them for ggml."""

    _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]


def _function(name: str, result: type | None, *arguments: type):
    function = lib.llama_cpp._lib[name]  # ggml's functions are found through libllama, which is linked to them
    function.restype, function.argtypes = result, arguments
    return function
