"""A GGUF as llama.cpp loads it: weights, vocabulary, and what the file says about itself."""

from __future__ import annotations

import atexit
import ctypes
import os
import warnings
from collections import deque
from functools import cached_property
from pathlib import Path

import llama_cpp as lib
import numpy as np

from depcli.engines.llama.table import EmbeddingTable, embedding_table
from depcli.errors import BadInput, DepError, Incompatible, MissingDependency

_WARN, _CONTINUE = 3, 5  # ggml_log_level
_log: deque[str] = deque(maxlen=12)

for _name in ("outnull_file", "errnull_file"):  # the library opens them when it is imported, and never closes them
    if _file := getattr(lib._utils, _name, None):
        atexit.register(_file.close)


@lib.llama_log_callback
def _keep_log(level, text, _user_data):  # lives as long as the module: the library keeps the pointer
    if level >= _WARN and text.strip():
        if level == _CONTINUE and not _log:
            return
        _log.append(text.decode("utf-8", "replace").strip())


def forget_messages() -> None:
    """Before a call whose failure is to be explained."""
    _log.clear()


def messages() -> str:
    """What the library said last."""
    return "; ".join(list(_log)[-3:])


class LlamaModel:
    """A loaded GGUF. `width` is what a soft token has, `positions` what it was trained for.

    `gpu_layers` of it go on a GPU, all when None.

    Raises BadInput for a damaged file, Incompatible for a model that cannot write from embedding rows, MissingDependency when
    a GPU is asked for and the library cannot use it.
    """

    def __init__(self, path: Path, *, device: str = "auto", gpu_layers: int | None = None):
        if device.startswith("cuda") and not lib.llama_supports_gpu_offload():
            raise MissingDependency(
                "this llama-cpp-python was built without GPU support", "use --device cpu or --engine transformers, or rebuild it"
            )
        lib.llama_log_set(_keep_log, ctypes.c_void_p(0))
        lib.llama_backend_init()
        forget_messages()
        self.path = path
        params = lib.llama_model_default_params()
        self.on_gpu: bool = device != "cpu" and gpu_layers != 0 and lib.llama_supports_gpu_offload()
        if gpu_layers and not self.on_gpu:
            hint = "leave --gpu-layers out, or rebuild it for the GPU"
            raise MissingDependency(f"this llama-cpp-python cannot put {gpu_layers} layers on a GPU", hint)
        params.n_gpu_layers = (-1 if gpu_layers is None else gpu_layers) if self.on_gpu else 0
        if b"AMX_INT8 = 1" in lib.llama_print_system_info():
            # GCC leaves out what sets its tiles up, and the first call ends the process: github.com/ggml-org/llama.cpp/pull/26954
            params.use_extra_bufts = False
        self._model = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise BadInput(f"llama.cpp cannot load {path}: {messages()}", "fetch the file again, or make it anew")
        self.width: int = lib.llama_model_n_embd_inp(self._model)
        self.positions: int = lib.llama_model_n_ctx_train(self._model)
        try:
            self._refuse_what_cannot_write()
        except DepError:
            self.close()
            raise
        # The token embeddings, None where rows do not do for tokens. Opened now: later another file may have the name.
        self.table: EmbeddingTable | None = embedding_table(path, self.metadata("general.architecture"))

    @property
    def pointer(self):
        """The library's own handle."""
        if self._model is None:  # a freed pointer would bring the process down
            raise RuntimeError("the engine is closed")
        return self._model

    @property
    def _vocabulary(self):
        return lib.llama_model_get_vocab(self.pointer)

    def _refuse_what_cannot_write(self) -> None:
        if lib.llama_model_rope_type(self._model) in (lib.LLAMA_ROPE_TYPE_MROPE, lib.LLAMA_ROPE_TYPE_IMROPE):
            # Their embedding batches need four positions per row; with one, the output is silently wrong.
            raise Incompatible(f"{self.path} is a vision model (M-RoPE)", "use the text model of the family")
        if lib.llama_model_has_encoder(self._model) or not lib.llama_model_has_decoder(self._model):
            raise Incompatible(f"{self.path} is not a decoder-only language model")

    # -- the vocabulary

    @cached_property
    def vocabulary_size(self) -> int:
        return lib.llama_vocab_n_tokens(self._vocabulary)

    @cached_property
    def unused(self) -> np.ndarray:
        """The ids (n,) int64 that have no text."""
        return np.flatnonzero(self._attributes & lib.LLAMA_TOKEN_ATTR_UNUSED)

    @cached_property
    def _attributes(self) -> np.ndarray:
        """What kinds of token each id is, (n,) int32, read once: 150,000 take a sixth of a second."""
        vocabulary, size = self._vocabulary, self.vocabulary_size
        return np.fromiter((lib.llama_vocab_get_attr(vocabulary, i) for i in range(size)), np.int32, size)

    def special_texts(self) -> tuple[str, ...]:
        """The strings that the tokenizer reads as one token wherever they stand: control and user-defined tokens."""
        special = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        return tuple(sorted(map(self.token_text, np.flatnonzero(self._attributes & special).tolist())))

    def token_text(self, token: int) -> str:
        """A token as it stands in the vocabulary."""
        return lib.llama_vocab_get_text(self._vocabulary, token).decode("utf-8", "replace")

    def end_token(self) -> int:
        """The token that ends a text, -1 when there is none."""
        return lib.llama_vocab_eos(self._vocabulary)

    def ends(self, token: int) -> bool:
        """Whether a token ends a text."""
        return lib.llama_vocab_is_eog(self._vocabulary, token)

    def tokenize(self, text: str, *, control: bool = True) -> list[int]:
        """Token ids; none is added. With `control` a control token in the text is read as one, else as its letters."""
        raw = text.encode("utf-8")
        room = len(raw) + 8
        while True:
            ids = (lib.llama_token * room)()
            count = lib.llama_tokenize(self._vocabulary, raw, len(raw), ids, room, False, control)
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
        template = lib.llama_model_chat_template(self.pointer, None)
        return template.decode("utf-8") if template else None

    def metadata(self, key: str) -> str | None:
        """A metadata value as text, None when the file has none."""
        room = 256
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, room)
            if count < room:
                return buffer.value.decode("utf-8", "replace") if count >= 0 else None
            room = count + 1

    @cached_property
    def scale_of_rows(self) -> np.float32:
        """What the library multiplies the rows with that it is given, and transformers does not. (It does so with tokens' rows in
        some more architectures, which is nobody's business here.)"""
        scaled = self.metadata("general.architecture") in ("gemma", "gemma2")
        return np.float32(np.sqrt(self.width) if scaled else 1)

    def close(self) -> None:
        """Free the weights. Twice is fine."""
        if self._model is not None:
            lib.llama_model_free(self._model)
            self._model = self.table = None
