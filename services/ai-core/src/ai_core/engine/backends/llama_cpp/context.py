"""A llama.cpp context: the KV cache and what is computed in it. The only place, with
:mod:`.model`, that calls llama.cpp."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Literal

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.model import Model, ModelError

MAX_SEQUENCE_IDS = 256
"""llama.cpp's own limit (LLAMA_MAX_SEQ)."""
BATCH_ROWS = 512
_DECODE_NO_ROOM = 1


KvType = Literal["f16", "bf16"]
_GGML_TYPES: dict[KvType, int] = {"f16": 1, "bf16": 30}
"""``enum ggml_type`` in ggml.h; the bindings do not name the second."""


LoraPointer = Any
"""``llama_adapter_lora_p``, which the bindings type as something that their own arrays do not take."""


class DecodeError(Exception):
    """llama_decode refused or failed to compute this batch."""


class NoRoom(DecodeError):
    """No free cells for this batch; nothing was changed (llama_decode returned 1)."""


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """Sizes of a context. ``kv_cells`` are touched at creation: they cost their memory at once."""

    kv_cells: int
    sequence_ids: int
    threads: int
    kv_type: KvType = "f16"


class Context:
    """One KV cache shared by all sequences (unified), with flash attention.

    Both are asserted: partial copies between sequences abort the process without the first, and
    idle cells make every step slower without the second.
    """

    def __init__(self, model: Model, settings: ContextSettings) -> None:
        params = lib.llama_context_default_params()
        params.n_ctx = settings.kv_cells
        params.n_batch = BATCH_ROWS
        params.n_ubatch = BATCH_ROWS
        params.n_seq_max = settings.sequence_ids
        params.n_threads = params.n_threads_batch = settings.threads
        params.type_k = params.type_v = _GGML_TYPES[settings.kv_type]
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.kv_unified = True
        params.swa_full = True
        params.no_perf = True
        self._model = model
        self._params = params
        self.pointer = pointer = self._make()
        self.cells = int(lib.llama_n_ctx(pointer))
        if lib.llama_n_ctx_seq(pointer) != self.cells:
            raise ModelError("llama.cpp did not create a cache that all sequences share")
        self._memory = lib.llama_get_memory(pointer)
        self._vocabulary = model.vocabulary_size

    def rest(self) -> None:
        """Give all its memory back. Nothing but :meth:`wake`, :meth:`set_threads` and :meth:`close` may be
        called next."""
        self.close()

    def wake(self) -> None:
        """Take the memory again, with nothing in the cache and no adapter. Without effect when awake.

        Raises:
            ModelError: there was not enough memory.
        """
        if self.pointer is None:
            self.pointer = self._make()
            self._memory = lib.llama_get_memory(self.pointer)

    def _make(self) -> Any:
        pointer = lib.llama_init_from_model(self._model.pointer, self._params)
        if pointer is None:
            raise ModelError(f"llama.cpp could not create a context of {self._params.n_ctx} cells")
        return pointer

    def decode(self, batch: RowBatch) -> None:
        """Compute a batch.

        Raises:
            NoRoom: the cells ran out; the cache is unchanged.
            DecodeError: refused (wrong positions or ids) or failed.
        """
        status = lib.llama_decode(self.pointer, batch.struct)
        if status == _DECODE_NO_ROOM:
            raise NoRoom("llama_decode found no room in the cache")
        if status != 0:
            raise DecodeError(f"llama_decode returned {status}")

    def logits(self, outputs: int) -> npt.NDArray[np.float32]:
        """The logits of the last call, shape (outputs, vocabulary), in the order of the rows that
        asked for them. A view that the next call overwrites."""
        pointer = lib.llama_get_logits(self.pointer)
        address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(address, shape=(outputs, self._vocabulary))

    def truncate(self, seq: int, keep: int) -> None:
        """Forget everything of a sequence from position ``keep`` on."""
        self.forget(seq, keep, -1)

    def forget(self, seq: int, start: int, end: int) -> None:
        """Forget positions [start, end) of a sequence."""
        if not lib.llama_memory_seq_rm(self._memory, seq, start, end):
            raise DecodeError(f"this model's memory cannot forget positions {start} to {end}")

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold positions [start, end) of ``source`` too: metadata only.

        ``target`` must not hold any of these positions already: llama.cpp would keep both, silently.
        """
        lib.llama_memory_seq_cp(self._memory, source, target, start, end)

    def state_bytes(self, seq: int) -> int:
        """What :meth:`save` would take."""
        return int(lib.llama_state_seq_get_size(self.pointer, seq))

    def save(self, seq: int) -> bytes:
        """The state of a sequence, to be restored bit for bit."""
        size = self.state_bytes(seq)
        buffer = (ctypes.c_uint8 * size)()
        written = lib.llama_state_seq_get_data(self.pointer, buffer, size, seq)
        if written == 0:
            raise DecodeError("llama.cpp could not save the state of a sequence")
        return bytes(memoryview(buffer)[:written])

    def restore(self, seq: int, state: bytes) -> bool:
        """Put a saved state into an empty sequence. False: no room in the cache."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(lib.llama_state_seq_set_data(self.pointer, buffer, len(state), seq))

    def use_adapter(self, adapter: LoraPointer | None, scale: float = 1.0) -> None:
        """Compute with a LoRA adapter (``llama_adapter_lora_p``) from the next call on; None: with none.

        The first call after a change makes llama.cpp lay out its memory anew.
        """
        if adapter is None:
            status = lib.llama_set_adapters_lora(self.pointer, None, 0, None)
        else:
            adapters = (lib.llama_adapter_lora_p_ctypes * 1)(adapter)
            status = lib.llama_set_adapters_lora(self.pointer, adapters, 1, (ctypes.c_float * 1)(scale))
        if status != 0:
            raise DecodeError(f"llama_set_adapters_lora returned {status}")

    def set_threads(self, decode: int, batch: int) -> None:
        self._params.n_threads, self._params.n_threads_batch = decode, batch
        if self.pointer is not None:
            lib.llama_set_n_threads(self.pointer, decode, batch)

    def close(self) -> None:
        if self.pointer is not None:
            lib.llama_free(self.pointer)
            self.pointer = None
