"""llama.cpp's memory of several sequences: prompts of tokens and embedding rows in, tokens appended, logits out.

Hazards that shape this file: a batch longer than the context's n_batch aborts the whole process; a batch holds tokens or rows,
never both, so text beside soft tokens becomes rows where that is the same; positions must follow on without gap; buffers that the
library returns are reused by its next call; how a prompt is cut into batches, and what stands beside a token in its batch, shows
in the last bits of its logits.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import llama_cpp as lib
import numpy as np

from depcli.engines.llama.batch import Batch
from depcli.engines.llama.kept_states import KeptStates, alike
from depcli.engines.llama.model import LlamaModel, forget_messages, messages
from depcli.engines.llama.threads import Threads, threads
from depcli.engines.tuning import Tuning
from depcli.errors import DepError

_PIECE, _PIECE_ON_GPU = 64, 512  # positions evaluated at once: twice as many are 2 % quicker, and two prompts share less
_LONG = 32  # positions that are worth a batch of their own, where the others may be known already
_CONTEXT_STEP = 1024
_KV_TYPES = {"f16": lib.GGML_TYPE_F16, "f32": lib.GGML_TYPE_F32, "q8_0": lib.GGML_TYPE_Q8_0}


@dataclass(frozen=True, eq=False)
class Piece:
    """What of a prompt is evaluated at once: `parts` are token ids (n,) int32 and soft tokens (n, width) float32, `digest` is of
    them, of all before them and of what else shows in the numbers."""

    parts: Sequence[np.ndarray]
    digest: bytes

    def __len__(self) -> int:
        return sum(map(len, self.parts))


@dataclass(eq=False)
class _Sequence:
    """How many positions of a sequence are in the memory, the pieces of its prompt that are, and what followed the last prompt
    that was read to its end: the digest of its last piece, and logits."""

    position: int = 0
    read: list[Piece] = field(default_factory=list)
    foreseen: tuple[bytes, np.ndarray] = (b"", np.empty(0, np.float32))


class LlamaContext:
    """The key/value memory of `tuning.parallel` texts that are written side by side. `read` takes a prompt, `feed` appends a
    token to each of some sequences, `follow` several to one; all return the logits (vocabulary,) float32 that follow.

    `exact`: float32 memory and no flash attention. The memory grows to what is asked for. `kept` are states that earlier
    processes left, and `weights` tells those weights from others.
    """

    def __init__(
        self, model: LlamaModel, tuning: Tuning, *, exact: bool = False, kept: KeptStates | None = None, weights: str = ""
    ):
        self.model, self._kept = model, kept
        self._sequences = [_Sequence() for _ in range(tuning.parallel)]
        self._kv_type = "f32" if exact else tuning.kv_type
        self._context = None
        self._room = 0
        self._piece = _PIECE_ON_GPU if model.on_gpu else _PIECE
        # On CPUs it costs more for each written token than it saves in reading a prompt; a quantized memory cannot do without.
        self._flash = (model.on_gpu and not exact) or self._kv_type == "q8_0"
        # Flash attention may divide the sums of a token among threads.
        self._threads = Threads(tuning.threads or threads(), adapts=not (model.on_gpu or self._flash))
        self._size = max(self._piece, tuning.parallel)  # of a batch, at most
        self._batch = Batch(self._size)
        self._row = ctypes.POINTER(ctypes.c_float * model.vocabulary_size)
        # All that shows in the bits of a state beside the prompt.
        library = lib.__version__, lib.llama_print_system_info()
        self._numerics = repr((weights, library, tuning, self._threads.most, self._piece, self._flash, self._kv_type)).encode()

    # -- prompts

    def holds(self, positions: int) -> bool:
        """Whether a sequence of so many positions fits as it is. Otherwise `reserve` makes room, and every sequence is lost."""
        return self._context is not None and positions <= self._room

    def reserve(self, positions: int) -> None:
        """Make room for sequences of so many positions."""
        if not self.holds(positions):
            self.close()
            self._context, self._room = self._new_context(positions)

    def pieces(self, parts: Sequence[list[int] | np.ndarray]) -> list[Piece]:
        """A prompt of token ids and soft tokens (n, width) float32 as it is evaluated. A digest tells where a piece ends and all
        before were cut, so that whatever beginning is used again, the numbers are those of an evaluation from scratch."""
        arrays = [np.ascontiguousarray(part, np.float32 if isinstance(part, np.ndarray) else np.int32) for part in parts]
        pieces, last = [], self._numerics
        for group in self._groups(arrays):
            for cut in _cut(group, self._piece):
                digest = hashlib.blake2b(last, digest_size=16)
                for array in cut:
                    digest.update(repr(array.shape).encode() + array.tobytes())
                last = digest.digest()
                pieces.append(Piece(cut, last))
        return pieces

    def _groups(self, arrays: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Which arrays may stand in one batch. A long text behind the last soft token begins a batch: it may be all that is new
        in the user's next prompt."""
        behind = max((i for i, array in enumerate(arrays, start=1) if array.ndim == 2), default=0)
        if behind and not self.model.table:
            return [[array] for array in arrays]
        return [arrays[:behind], arrays[behind:]] if sum(map(len, arrays[behind:])) >= _LONG else [arrays]

    def likeliest(self, pieces: Sequence[Piece], free: Sequence[int]) -> int:
        """Of the sequences `free` the one whose prompt began most alike."""
        return max(free, key=lambda number: self._known(pieces, number))

    def _known(self, pieces: Sequence[Piece], sequence: int) -> int:
        """How many pieces of a prompt a sequence holds, the last one apart, which makes the logits."""
        return alike(_digests(pieces[:-1]), _digests(self._sequences[sequence].read))

    def read(self, pieces: Sequence[Piece], sequence: int = 0) -> tuple[np.ndarray, int]:
        """Evaluate a prompt: the logits (vocabulary,) of what follows, and how many positions were not evaluated, since the
        prompt before in this sequence, or one whose state is kept, began alike or was the same. What followed an earlier prompt,
        even an interrupted one, is gone.
        """
        own, digests = self._sequences[sequence], _digests(pieces)
        shared = self._known(pieces, sequence)
        if own.foreseen[0] == digests[-1] and _digests(own.read) == digests:
            self._go_back(sequence, len(pieces))
            if own.read:
                return own.foreseen[1].copy(), own.position
        if self._kept and (found := self._kept.find(digests, at_least=shared + 1)):
            shared = self._restore(sequence, found.load(), pieces[: found.shared])
        self._go_back(sequence, shared)
        reused = own.position
        for piece in pieces[len(own.read) :]:
            self._evaluate(piece, own, sequence, last=piece is pieces[-1])
            own.read.append(piece)
        logits = self._logits(-1)
        own.foreseen = digests[-1], logits.copy()
        if self._kept and reused < own.position // 2:  # else a kept state holds most of it
            self._kept.keep(digests, lambda: self._state(sequence))
        return logits, reused

    def _restore(self, sequence: int, state: np.ndarray | None, pieces: Sequence[Piece]) -> int:
        """Put a kept state that begins with these pieces into the memory; returns how many of them are there."""
        self._forget(sequence)
        if state is None:
            return 0
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        if lib.llama_state_seq_set_data(self._context, buffer, len(state), sequence) != len(state):
            self._forget(sequence)
            return 0
        self._sequences[sequence].read = list(pieces)
        return len(pieces)

    def _state(self, sequence: int) -> np.ndarray:
        """The memory of a sequence as bytes (n,) uint8."""
        size = lib.llama_state_seq_get_size(self._context, sequence)
        state = np.empty(size, np.uint8)
        written = lib.llama_state_seq_get_data(self._context, (ctypes.c_uint8 * size).from_buffer(state), size, sequence)
        return state[:written]

    def _go_back(self, sequence: int, pieces: int) -> None:
        """Keep the first so many pieces of what a sequence holds, where the model's memory can do that."""
        own, memory = self._sequences[sequence], lib.llama_get_memory(self._context)
        del own.read[pieces:]  # first: an interruption must leave nothing here that is not in the memory
        positions = sum(map(len, own.read))
        whole = pieces and lib.llama_memory_seq_pos_min(memory, sequence) == 0  # a sliding window may have lost its beginning
        if whole and lib.llama_memory_seq_rm(memory, sequence, positions, -1):
            own.position = positions
        else:
            self._forget(sequence)

    def _forget(self, sequence: int) -> None:
        if self._context is not None:
            lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), sequence, -1, -1)
        self._sequences[sequence].read.clear()
        self._sequences[sequence].position = 0

    def forget(self) -> None:
        """Empty the memory: the next prompts are evaluated from scratch."""
        if self._context is not None:
            lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        for own in self._sequences:
            own.read.clear()
            own.position = 0

    # -- what follows a prompt

    def feed(self, tokens: Mapping[int, int]) -> dict[int, np.ndarray]:
        """Append one token to each of these sequences; the logits (vocabulary,) that follow in each."""
        positions = [self._sequences[number].position for number in tokens]
        self._decode(np.fromiter(tokens.values(), np.int32), positions, list(tokens), wanted=slice(None))
        for number in tokens:
            self._sequences[number].position += 1
        return {number: self._logits(i) for i, number in enumerate(tokens)}

    def follow(self, tokens: np.ndarray, sequence: int) -> Iterator[np.ndarray]:
        """Append tokens (n,) int32 to a sequence, some at a time: the logits (m, vocabulary) that follow each of these, to be
        used before the next are asked for."""
        own = self._sequences[sequence]
        for start in range(0, len(tokens), _PIECE):
            some = tokens[start : start + _PIECE]
            self._decode(some, np.arange(own.position, own.position + len(some)), sequence, wanted=slice(None))
            own.position += len(some)
            rows = lib.llama_get_logits(self._context)
            yield np.ctypeslib.as_array(rows, (len(some), self.model.vocabulary_size))

    def _evaluate(self, piece: Piece, own: _Sequence, sequence: int, *, last: bool) -> None:
        """Append a piece: as token ids, or as rows when there is a soft token in it."""
        positions = np.arange(own.position, own.position + len(piece))
        soft = any(array.ndim == 2 for array in piece.parts)
        values = np.concatenate([self.model.table.rows(array) if soft and array.ndim == 1 else array for array in piece.parts])
        self._decode(values, positions, sequence, wanted=slice(-1, None) if last else slice(0))
        own.position += len(piece)

    def _decode(self, values: np.ndarray, positions, sequences, *, wanted: slice) -> None:
        if self._threads.now != self._computing:
            self._computing = self._threads.now
            lib.llama_set_n_threads(self._context, self._computing, self._computing)
        with self._threads:
            code = lib.llama_decode(self._context, self._batch.fill(values, positions, sequences, wanted=wanted))
        if code:
            raise DepError(f"llama.cpp failed to evaluate position {positions[0]} (code {code}): {messages()}")

    def _logits(self, row: int) -> np.ndarray:
        """(vocabulary,) float32 of a row of the last batch."""
        pointer = lib.llama_get_logits_ith(self._context, row)
        if not pointer:
            raise RuntimeError("no logits were asked for")
        return np.frombuffer(ctypes.cast(pointer, self._row).contents, np.float32).copy()

    # -- the library's context

    def _new_context(self, positions: int):
        room = -(-positions // _CONTEXT_STEP) * _CONTEXT_STEP
        params = lib.llama_context_default_params()
        params.n_seq_max = len(self._sequences)
        params.n_ctx = room * len(self._sequences)
        params.n_batch = params.n_ubatch = self._size
        params.n_threads = params.n_threads_batch = self._computing = self._threads.now
        if not self._flash:
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_v = _KV_TYPES[self._kv_type]
        forget_messages()
        context = lib.llama_init_from_model(self.model.pointer, params)
        if not context:
            hint = "ask for fewer: --max-new-tokens" + (", --parallel" if len(self._sequences) > 1 else "")
            raise DepError(f"llama.cpp cannot make room for {params.n_ctx} positions: {messages()}", hint)
        return context, room

    def close(self) -> None:
        """Free the memory, not the model. Twice is fine."""
        if self._context is not None:
            lib.llama_free(self._context)
            self._context = None
        self.forget()


def _digests(pieces: Sequence[Piece]) -> list[bytes]:
    return [piece.digest for piece in pieces]


def _cut(arrays: Sequence[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """What of these arrays stands in the first `size` rows of all, in the next `size`, and so on."""
    piece, room = [], size
    for array in arrays:
        while len(array):
            piece.append(array[:room])
            array, room = array[room:], room - len(piece[-1])
            if not room:
                yield piece
                piece, room = [], size
    if piece:
        yield piece
