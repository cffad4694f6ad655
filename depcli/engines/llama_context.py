"""llama.cpp's C API as far as writing needs it: one GGUF, one sequence, tokens and embedding rows in turn.

Hazards that shape this file: a batch longer than the context's n_batch aborts the whole process; a batch holds tokens or rows,
never both; positions must follow on without gap; buffers that the library returns are reused by its next call; how a prompt is
cut into batches shows in the last bits of its logits.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import llama_cpp as lib
import numpy as np

from depcli.errors import BadInput, DepError, Incompatible, MissingDependency

_PIECE, _PIECE_ON_GPU = 128, 512  # positions that are evaluated at once; half as many cost `mini` 5 % of its speed
_CONTEXT_STEP = 1024
_WARN, _CONTINUE = 3, 5  # ggml_log_level
_log: deque[str] = deque(maxlen=12)


@lib.llama_log_callback
def _keep_log(level, text, _user_data):  # lives as long as the module: the library keeps the pointer
    if level >= _WARN and text.strip():
        if level == _CONTINUE and not _log:
            return
        _log.append(text.decode("utf-8", "replace").strip())


def _said() -> str:
    return "; ".join(list(_log)[-3:])


class LlamaContext:
    """A loaded GGUF and its key/value memory for one sequence. `read` takes a prompt, `feed` appends a token, `logits` are those
    of the last position.

    `exact`: float32 key/value memory and no flash attention. The memory grows to what `read` asks for.
    Raises BadInput for a damaged file, Incompatible for a model that cannot write from embedding rows, MissingDependency when
    `device` is 'cuda' and the library cannot use it.
    """

    def __init__(self, path: Path, *, device: str = "auto", exact: bool = False):
        if device.startswith("cuda") and not lib.llama_supports_gpu_offload():
            raise MissingDependency(
                "this llama-cpp-python was built without GPU support", "use --device cpu or --engine transformers, or rebuild it"
            )
        lib.llama_log_set(_keep_log, ctypes.c_void_p(0))
        lib.llama_backend_init()
        _log.clear()
        self.path, self.exact = path, exact
        self._context = None
        self._position = 0
        self._read: list[tuple[int, bytes]] = []  # the pieces of the last prompt, as far as they are in the memory
        params = lib.llama_model_default_params()
        on_gpu = device != "cpu" and lib.llama_supports_gpu_offload()
        params.n_gpu_layers = -1 if on_gpu else 0
        self._piece = _PIECE_ON_GPU if on_gpu else _PIECE
        self._flash = on_gpu and not exact  # on CPUs it costs more for each written token than it saves in reading a prompt
        self._model = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise BadInput(f"llama.cpp cannot load {path}: {_said()}", "fetch the file again, or make it anew")
        self.width: int = lib.llama_model_n_embd_inp(self._model)
        self.positions: int = lib.llama_model_n_ctx_train(self._model)
        try:
            self._refuse_what_cannot_write()
        except DepError:
            self.close()
            raise

    @property
    def _open_model(self):
        if self._model is None:  # a freed pointer would bring the process down
            raise RuntimeError("the engine is closed")
        return self._model

    @property
    def _vocabulary(self):
        return lib.llama_model_get_vocab(self._open_model)

    def _refuse_what_cannot_write(self) -> None:
        if lib.llama_model_rope_type(self._model) in (lib.LLAMA_ROPE_TYPE_MROPE, lib.LLAMA_ROPE_TYPE_IMROPE):
            # Their embedding batches need four positions per row; with one, the output is silently wrong.
            raise Incompatible(f"{self.path} is a vision model (M-RoPE)", "use the text model of the family")
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            raise Incompatible(f"{self.path} is not a decoder-only language model")

    # -- the sequence

    def read(self, parts: Sequence[list[int] | np.ndarray], room: int) -> int:
        """Evaluate a prompt of token ids and soft tokens (n, width) float32 for `logits`, with room for as many positions after
        it; what an earlier prompt left, even an interrupted one, is gone. Returns how many positions were not evaluated, since
        the prompt before began alike.

        A prompt is cut into pieces at places that depend on nothing before it, and only whole pieces are used again: the numbers
        are those of an evaluation from scratch, to the last bit.
        """
        pieces = [piece for part in parts for piece in _pieces(part, self._piece)]
        self._make_room(sum(map(len, pieces)) + room)
        keys = [(piece.ndim, piece.tobytes()) for piece in pieces]
        pairs = zip(keys[:-1], self._read, strict=False)  # without the last piece, which makes the logits
        shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        self._go_back(shared, sum(map(len, pieces[:shared])))
        reused = self._position
        for i in range(len(self._read), len(pieces)):
            self._evaluate(pieces[i], last=i == len(pieces) - 1)
            self._read.append(keys[i])
        return reused

    def _make_room(self, positions: int) -> None:
        if self._context is None or lib.llama_n_ctx(self._context) < positions:
            self._free_context()
            self._context = self._new_context(positions)

    def _go_back(self, pieces: int, positions: int) -> None:
        """Keep the first so many pieces and positions of what the memory holds, where the model's memory can do that."""
        memory = lib.llama_get_memory(self._context)
        del self._read[pieces:]  # first: an interruption must leave nothing here that is not in the memory
        whole = pieces and lib.llama_memory_seq_pos_min(memory, 0) == 0  # a sliding window may have lost its beginning
        if whole and lib.llama_memory_seq_rm(memory, 0, positions, -1):
            self._position = positions
        else:
            self.forget()

    def forget(self) -> None:
        """Empty the memory: the next prompt is evaluated from scratch."""
        if self._context is not None:
            lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        self._read.clear()
        self._position = 0

    def _new_context(self, positions: int):
        params = lib.llama_context_default_params()
        params.n_ctx = -(-positions // _CONTEXT_STEP) * _CONTEXT_STEP
        params.n_batch = params.n_ubatch = self._piece
        params.n_seq_max = 1
        params.n_threads = params.n_threads_batch = threads()
        if not self._flash:
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if self.exact:
            params.type_k = params.type_v = lib.GGML_TYPE_F32
        _log.clear()
        context = lib.llama_init_from_model(self._open_model, params)
        if not context:
            hint = "ask for fewer: --max-new-tokens"
            raise DepError(f"llama.cpp cannot make room for {params.n_ctx} positions: {_said()}", hint)
        return context

    def feed(self, token: int) -> None:
        """Append one token and make its logits."""
        self._evaluate(np.array([token], np.int32), last=True)

    def _evaluate(self, piece: np.ndarray, *, last: bool) -> None:
        """Append token ids (n,) int32 or soft tokens (n, width) float32, no more than a batch takes."""
        count, rows = len(piece), piece.ndim == 2
        batch = lib.llama_batch_init(count, self.width if rows else 0, 1)
        try:
            batch.n_tokens = count
            ctypes.memmove(batch.embd if rows else batch.token, piece.ctypes.data, piece.nbytes)
            for i in range(count):
                batch.pos[i] = self._position + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = last and i == count - 1  # the library does not zero it
            code = lib.llama_decode(self._context, batch)
        finally:
            lib.llama_batch_free(batch)
        if code:
            raise DepError(f"llama.cpp failed to evaluate position {self._position} (code {code}): {_said()}")
        self._position += count

    def logits(self) -> np.ndarray:
        """(vocabulary,) float32 of the last position, -inf for ids that have no text."""
        pointer = lib.llama_get_logits_ith(self._context, -1)
        if not pointer:
            raise RuntimeError("no logits were asked for")
        logits = np.ctypeslib.as_array(pointer, shape=(self.vocabulary_size,)).copy()
        logits[self._unused] = -np.inf
        return logits

    # -- the vocabulary

    @cached_property
    def vocabulary_size(self) -> int:
        return lib.llama_vocab_n_tokens(self._vocabulary)

    @cached_property
    def _unused(self) -> np.ndarray:
        return np.array(self._with_attribute(lib.LLAMA_TOKEN_ATTR_UNUSED), np.int64)

    def _with_attribute(self, attribute: int) -> list[int]:
        return [i for i in range(self.vocabulary_size) if lib.llama_vocab_get_attr(self._vocabulary, i) & attribute]

    def special_texts(self) -> tuple[str, ...]:
        """The strings that the tokenizer reads as one token wherever they stand: control and user-defined tokens."""
        special = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        return tuple(sorted(map(self.token_text, self._with_attribute(special))))

    def token_text(self, token: int) -> str:
        """A token as it stands in the vocabulary."""
        return lib.llama_vocab_get_text(self._vocabulary, token).decode("utf-8", "replace")

    def end_token(self) -> int:
        """The end-of-turn token, -1 when there is none."""
        return lib.llama_vocab_eos(self._vocabulary)

    def ends(self, token: int) -> bool:
        """Whether a token ends a text."""
        return lib.llama_vocab_is_eog(self._vocabulary, token)

    def tokenize(self, text: str) -> list[int]:
        """Token ids; control tokens in the text are read, none is added."""
        raw = text.encode("utf-8")
        room = len(raw) + 8
        while True:
            ids = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocabulary, raw, len(raw), ids, room, False, True)
            if count >= 0:
                return ids[:count]
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for, which may be part of a character; none for a control token."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = lib.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def grammar_tokenizer(self):
        """The vocabulary as llguidance reads it. It points into the model: not to be used after `close`."""
        from llguidance.llamacpp import lltokenizer_from_vocab

        ends = [token for token in range(self.vocabulary_size) if self.ends(token)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it asks llama_cpp for attributes by an older name
            return lltokenizer_from_vocab(self._vocabulary, eos_token=ends)

    # -- the file

    def chat_template(self) -> str | None:
        """The Jinja chat template that the file carries."""
        template = lib.llama_model_chat_template(self._open_model, None)
        return template.decode("utf-8") if template else None

    def metadata(self, key: str) -> str | None:
        """A metadata value as text, None when the file has none."""
        room = 256
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = lib.llama_model_meta_val_str(self._open_model, key.encode(), buffer, room)
            if count < room:
                return buffer.value.decode("utf-8", "replace") if count >= 0 else None
            room = count + 1

    def close(self) -> None:
        """Free context and model. Twice is fine."""
        self._free_context()
        if self._model is not None:
            lib.llama_model_free(self._model)
            self._model = None

    def _free_context(self) -> None:
        if self._context is not None:
            lib.llama_free(self._context)
            self._context = None
        self._read.clear()
        self._position = 0


def _pieces(part: list[int] | np.ndarray, size: int) -> Iterator[np.ndarray]:
    """What is evaluated at once: token ids (n,) int32 or soft tokens (n, width) float32, n at most `size`."""
    values = np.ascontiguousarray(part, np.float32 if isinstance(part, np.ndarray) else np.int32)
    for start in range(0, len(values), size):
        yield values[start : start + size]


def threads() -> int:
    """How many threads llama.cpp gets: OMP_NUM_THREADS, else one for each processor that we may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
