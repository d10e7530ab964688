"""The rows of one ``llama_decode`` call, kept in NumPy arrays that llama.cpp reads in place."""

from __future__ import annotations

import ctypes

import llama_cpp.llama_cpp as lib
import numpy as np

from ai_core.engine.backends.port import Tokens


class RowBatch:
    """A reusable batch of up to ``capacity`` rows, each one token of one sequence.

    Filling it costs a few array writes per sequence, not a Python call per token.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        self._token = np.zeros(capacity, dtype=np.int32)
        self._pos = np.zeros(capacity, dtype=np.int32)
        self._wants_logits = np.zeros(capacity, dtype=np.int8)
        self._seq_count = np.ones(capacity, dtype=np.int32)
        self._seq = np.zeros(capacity, dtype=np.int32)
        # llama_batch.seq_id is an array of pointers: row i's points at the i-th entry of _seq.
        addresses = self._seq.ctypes.data + np.arange(capacity) * self._seq.itemsize
        self._seq_pointers = addresses.astype(np.uintp)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=self._pos.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=self._seq_count.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._seq_pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=self._wants_logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        self.rows = 0
        self.struct.n_tokens = 0

    def add(self, seq: int, tokens: Tokens, position: int, *, logits: bool) -> None:
        """Append consecutive tokens of one sequence; with ``logits``, the last one asks for them."""
        start, end = self.rows, self.rows + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._seq[start:end] = seq
        self._wants_logits[start:end] = 0
        self._wants_logits[end - 1] = logits
        self._grow_to(end)

    def add_whole(self, seq: int, tokens: Tokens, position: int) -> None:
        """Append consecutive tokens of a sequence, each of which is an output."""
        start = self.rows
        self.add(seq, tokens, position, logits=True)
        self._wants_logits[start : self.rows] = 1

    def add_decodes(self, seqs: list[int], tokens: list[int], positions: list[int]) -> None:
        """Append one row per sequence, each asking for logits."""
        start, end = self.rows, self.rows + len(seqs)
        self._token[start:end] = tokens
        self._pos[start:end] = positions
        self._seq[start:end] = seqs
        self._wants_logits[start:end] = 1
        self._grow_to(end)

    def _grow_to(self, rows: int) -> None:
        self.rows = rows
        self.struct.n_tokens = rows
