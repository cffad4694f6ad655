"""What llama.cpp evaluates in one call: tokens or embedding rows, each with its position and sequence."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp as lib
import numpy as np


class Batch:
    """Room for up to `size` positions, made once: the library reads these arrays where they are, and only during a call."""

    def __init__(self, size: int):
        self._positions, self._sequences = np.zeros((2, size), np.int32)
        self._one_sequence_each = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        self._where = self._sequences.ctypes.data + self._sequences.itemsize * np.arange(size, dtype=np.uintp)
        self._batch = lib.llama_batch(
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._one_sequence_each, ctypes.c_int32),
            seq_id=_pointer(self._where, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def fill(
        self, values: np.ndarray, positions: Sequence[int] | np.ndarray, sequences: Sequence[int] | int, *, wanted: slice
    ) -> lib.llama_batch:
        """Token ids (n,) int32 or rows (n, width) float32 in C order, which must live until they are evaluated, at these
        positions (n,) of these sequences (n,) or of one; the logits of the `wanted` of them are to be kept."""
        count, rows = len(values), values.ndim == 2
        self._positions[:count] = positions
        self._sequences[:count] = sequences
        self._wanted[:count] = 0
        self._wanted[:count][wanted] = 1
        batch = self._batch
        batch.n_tokens = count
        batch.token = None if rows else _pointer(values, ctypes.c_int32)
        batch.embd = _pointer(values, ctypes.c_float) if rows else None
        return batch


def _pointer(array: np.ndarray, kind: type):
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
