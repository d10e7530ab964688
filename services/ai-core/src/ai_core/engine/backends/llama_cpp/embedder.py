"""Embeddings with llama.cpp: whole texts in one call, one vector each."""

from __future__ import annotations

from collections.abc import Sequence

import llama_cpp.llama_cpp as lib
import numpy as np

from ai_core.engine.backends.embedding_port import CannotEmbed, EmbedderCapabilities, Pooling, Vectors
from ai_core.engine.backends.llama_cpp.batch import RowBatch
from ai_core.engine.backends.llama_cpp.model import Model, ModelError
from ai_core.engine.tokens import Tokens

CALL_ROWS = 512
"""Tokens that a call should have: more make it no faster, and others wait longer for their turn."""
CALL_INPUTS = 64
LOGITS_BYTES = 128 * 1024 * 1024
"""llama.cpp computes the likelihood of every word for every token of a causal model, also where nobody
asks for it: its calls are kept so small that this fits."""
_FEWEST_ROWS = 32
_FLOAT_BYTES = 4
_POOLING_TYPES: dict[Pooling, int] = {
    "mean": lib.LLAMA_POOLING_TYPE_MEAN,
    "cls": lib.LLAMA_POOLING_TYPE_CLS,
    "last": lib.LLAMA_POOLING_TYPE_LAST,
}


class LlamaCppEmbedder:
    """Implements :class:`..embedding_port.Embedder`.

    Args:
        model: the loaded weights.
        pooling: how a text's vectors become one.
        context_length: most tokens in one text. A model that looks in both directions computes a text in
            one call, so memory for so many rows is taken from the start; a causal one goes on call by call.
        threads: at the beginning.
        matryoshka: whether callers may ask for shorter vectors.

    Raises:
        ModelError: llama.cpp refuses this.
    """

    def __init__(
        self, model: Model, pooling: Pooling, *, context_length: int, threads: int, matryoshka: bool
    ) -> None:
        causal = model.metadata_of_architecture("attention.causal") != "false"
        call_rows = causal_rows(model.vocabulary_size) if causal else CALL_ROWS
        rows = call_rows if causal else max(call_rows, context_length)
        params = lib.llama_context_default_params()
        params.n_ctx = max(call_rows, context_length)
        params.n_batch = params.n_ubatch = rows
        params.n_seq_max = CALL_INPUTS
        params.n_threads = params.n_threads_batch = threads
        params.embeddings = True
        params.pooling_type = _POOLING_TYPES[pooling]
        params.kv_unified = True
        params.no_perf = True
        self._context = lib.llama_init_from_model(model.pointer, params)
        if self._context is None:
            raise ModelError(f"llama.cpp could not create a context of {params.n_ctx} tokens for embeddings")
        # None for models that keep nothing between calls, as BERT's kind.
        self._memory = lib.llama_get_memory(self._context)
        self._model = model
        self._batch = RowBatch(rows)
        self._capabilities = EmbedderCapabilities(
            name="llama.cpp",
            context_length=context_length,
            rows=call_rows,
            inputs=CALL_INPUTS,
            dimensions=int(lib.llama_model_n_embd_out(model.pointer)),
            pooling=pooling,
            vocabulary=model.vocabulary_size,
            matryoshka=matryoshka,
        )

    def capabilities(self) -> EmbedderCapabilities:
        return self._capabilities

    def embed(self, inputs: Sequence[Tokens]) -> Vectors:
        if self._memory is not None:
            lib.llama_memory_clear(self._memory, False)
        if len(inputs) == 1 and len(inputs[0]) > self._batch.capacity:
            vectors = self._in_parts(inputs[0])
        else:
            vectors = self._call(inputs, 0)
        if not np.isfinite(vectors).all():
            raise CannotEmbed("the model computed no finite numbers for this text")
        return vectors

    def _in_parts(self, tokens: Tokens) -> Vectors:
        """The vector of a text that is longer than a call; each call finds those before it in the cache."""
        places = range(0, len(tokens), self._batch.capacity)
        parts = [tokens[place : place + self._batch.capacity] for place in places]
        pooled = np.concatenate(
            [self._call([part], place) for part, place in zip(parts, places, strict=True)]
        )
        match self._capabilities.pooling:
            case "mean":
                weights = np.asarray([[len(part) for part in parts]], np.float32) / len(tokens)
                return np.asarray(weights @ pooled, np.float32)
            case "cls":
                return pooled[:1]
            case "last":
                return pooled[-1:]

    def _call(self, inputs: Sequence[Tokens], position: int) -> Vectors:
        self._batch.clear()
        for seq, tokens in enumerate(inputs):
            self._batch.add_whole(seq, tokens, position)
        # Models without a memory are encoded by the same call.
        status = lib.llama_decode(self._context, self._batch.struct)
        if status != 0:
            raise CannotEmbed(f"llama_decode returned {status}")
        return np.stack([self._vector(seq) for seq in range(len(inputs))])

    def set_threads(self, threads: int) -> None:
        lib.llama_set_n_threads(self._context, threads, threads)

    def close(self) -> None:
        if self._context is not None:
            lib.llama_free(self._context)
            self._context = None
            self._model.close()

    def _vector(self, seq: int) -> Vectors:
        pointer = lib.llama_get_embeddings_seq(self._context, seq)
        if not pointer:
            raise CannotEmbed("llama.cpp gave no vector for this text")
        # llama.cpp overwrites it with the next call.
        return np.ctypeslib.as_array(pointer, shape=(self._capabilities.dimensions,)).copy()


def causal_rows(vocabulary: int) -> int:
    """Rows of a call, so that a number for each word of the vocabulary and each row fits."""
    return min(CALL_ROWS, max(_FEWEST_ROWS, LOGITS_BYTES // (_FLOAT_BYTES * vocabulary)))
