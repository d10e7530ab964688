"""A GGUF file in memory: weights, metadata and vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import llama_cpp.llama_cpp as lib

_CONTROL_ATTRIBUTES = (
    lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED | lib.LLAMA_TOKEN_ATTR_UNKNOWN
)
"""What llama.cpp looks for as whole tokens in a text: ``tokenizer_st_partition`` in llama-vocab.cpp."""
_PIECE_BYTES = 256


class ModelError(Exception):
    """This file cannot be served. The message is written for the operator."""


class Model:
    """Weights on the CPU.

    Args:
        path: the GGUF file.
        on_progress: called with 0..1 while the weights are read.

    Raises:
        ModelError: not a GGUF file that this llama.cpp can load.
    """

    def __init__(self, path: Path, on_progress: Callable[[float], None]) -> None:
        lib.llama_backend_init()
        self.path = path

        def report(progress: float, _user_data: ctypes.c_void_p) -> bool:
            on_progress(progress)
            return True

        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._callback = lib.llama_progress_callback(report)
        params.progress_callback = self._callback
        pointer = lib.llama_model_load_from_file(str(path).encode(), params)
        if pointer is None:
            raise ModelError(
                f"llama.cpp cannot load {path}: it is no complete GGUF file of a known architecture"
            )
        self.pointer = pointer
        self.vocabulary = GgufVocabulary(pointer)
        self.vocabulary_size = self.vocabulary.size

    @property
    def trained_context(self) -> int:
        return int(lib.llama_model_n_ctx_train(self.pointer))

    @property
    def parameters(self) -> int:
        return int(lib.llama_model_n_params(self.pointer))

    @property
    def weights_bytes(self) -> int:
        return int(lib.llama_model_size(self.pointer))

    @property
    def head_width(self) -> int:
        """Elements of one attention head's keys."""
        stated = self.metadata(f"{self.metadata('general.architecture')}.attention.key_length")
        heads = max(1, int(lib.llama_model_n_head(self.pointer)))
        return int(stated) if stated else int(lib.llama_model_n_embd(self.pointer)) // heads

    @property
    def is_recurrent(self) -> bool:
        """Whether its memory cannot be cut or copied in part (recurrent and hybrid architectures)."""
        return bool(lib.llama_model_is_recurrent(self.pointer) or lib.llama_model_is_hybrid(self.pointer))

    def metadata(self, key: str) -> str | None:
        """A value of the GGUF file as text (``true``, ``3``); None where there is none."""
        buffer = ctypes.create_string_buffer(256)
        length = lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return None if length < 0 else buffer.value.decode(errors="replace")

    def metadata_of_architecture(self, key: str) -> str | None:
        """The value of ``{architecture}.{key}``."""
        return self.metadata(f"{self.metadata('general.architecture')}.{key}")

    @property
    def has_decoder(self) -> bool:
        """Whether it generates text by itself."""
        decodes, encodes = lib.llama_model_has_decoder, lib.llama_model_has_encoder
        return bool(decodes(self.pointer)) and not encodes(self.pointer)

    @property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self.pointer, buffer, len(buffer))
        return buffer.value.decode(errors="replace")

    def close(self) -> None:
        if self.pointer is not None:
            lib.llama_model_free(self.pointer)
            self.pointer = None


class GgufVocabulary:
    """The vocabulary inside a GGUF file (the port is ``backends.port.Vocabulary``)."""

    def __init__(self, model_pointer: object) -> None:
        self._model = model_pointer
        self._vocab = lib.llama_model_get_vocab(model_pointer)
        self.size = int(lib.llama_vocab_n_tokens(self._vocab))
        self._pieces: dict[int, bytes] = {}

    def encode(self, text: str, *, add_bos: bool, parse_special: bool) -> list[int]:
        data = text.encode()
        capacity = len(data) + 8
        tokens = (ctypes.c_int32 * capacity)()
        count = lib.llama_tokenize(self._vocab, data, len(data), tokens, capacity, add_bos, parse_special)
        if count < 0:
            tokens = (ctypes.c_int32 * -count)()
            count = lib.llama_tokenize(self._vocab, data, len(data), tokens, -count, add_bos, parse_special)
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        cached = self._pieces.get(token)
        if cached is None:
            cached = self._pieces[token] = self._render(token, special=False)
        return cached

    def shown(self, token: int) -> bytes:
        return self.piece(token) or self._render(token, special=True)

    def is_end(self, token: int) -> bool:
        """Whether this token ends an answer."""
        return token in self._ends

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        return self._ends

    @cached_property
    def control_texts(self) -> frozenset[str]:
        texts = (self._render(token, special=True) for token in self._control_tokens)
        return frozenset(text.decode(errors="replace") for text in texts if text)

    @property
    def bos_text(self) -> str:
        return self._special_text(lib.llama_vocab_bos(self._vocab))

    @property
    def eos_text(self) -> str:
        return self._special_text(lib.llama_vocab_eos(self._vocab))

    @property
    def chat_template(self) -> str | None:
        raw = lib.llama_model_chat_template(self._model, None)
        return raw.decode(errors="replace") if raw else None

    @cached_property
    def _ends(self) -> frozenset[int]:
        return frozenset(token for token in range(self.size) if lib.llama_vocab_is_eog(self._vocab, token))

    @cached_property
    def _control_tokens(self) -> list[int]:
        return [
            token
            for token in range(self.size)
            if int(lib.llama_vocab_get_attr(self._vocab, token)) & _CONTROL_ATTRIBUTES
        ]

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self._render(token, special=True).decode(errors="replace")

    def _render(self, token: int, *, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        length = lib.llama_token_to_piece(self._vocab, token, buffer, _PIECE_BYTES, 0, special)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = lib.llama_token_to_piece(self._vocab, token, buffer, -length, 0, special)
        return buffer.raw[:length]
