"""The bound: a batched decode loop with nothing around it.

Runs as a process of its own that keeps the model loaded and does one measurement per line of
standard input (``{"sequences": 8, "steps": 48, "depth": 32}``), answering with a line
``{"tokens_per_second": …}``. It computes logits and looks at none: no sampling, no text, no
scheduling.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np

from ai_core.engine.backends.llama_cpp.kernels import load_kernels


def main(model_path: str, threads: int, kv_type: str) -> None:
    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    lib.llama_backend_init()
    # The bound of what the engine computes with, not of something slower.
    load_kernels()
    model = lib.llama_model_load_from_file(model_path.encode(), lib.llama_model_default_params())
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_seq_max = 16_384, 81
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = threads
    params.type_k = params.type_v = 30 if kv_type == "bf16" else 1  # enum ggml_type
    params.flash_attn_type, params.kv_unified = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED, True
    context = lib.llama_init_from_model(model, params)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        rate = measure(context, order["sequences"], order["steps"], order["depth"])
        print(json.dumps({"tokens_per_second": rate}), flush=True)


def measure(context: object, sequences: int, steps: int, depth: int) -> float:
    """Tokens per second of ``steps`` decodes of ``sequences`` rows each, from ``depth`` on."""
    memory = lib.llama_get_memory(context)
    lib.llama_memory_clear(memory, True)
    batch: Any = lib.llama_batch_init(512, 0, 1)
    for sequence in range(sequences):
        _fill(batch, [(sequence, position) for position in range(depth)], last_only=True)
        lib.llama_decode(context, batch)
    _fill(batch, [(sequence, depth) for sequence in range(sequences)])
    lib.llama_decode(context, batch)
    lib.llama_synchronize(context)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        for row in range(sequences):
            batch.pos[row] = depth + step
        lib.llama_decode(context, batch)
        lib.llama_synchronize(context)
    elapsed = time.perf_counter() - started
    lib.llama_batch_free(batch)
    return sequences * steps / elapsed


def _fill(batch: Any, rows: list[tuple[int, int]], *, last_only: bool = False) -> None:
    tokens = np.random.default_rng(len(rows)).integers(0, 1000, len(rows))
    batch.n_tokens = len(rows)
    for row, (sequence, position) in enumerate(rows):
        batch.token[row] = int(tokens[row])
        batch.pos[row] = position
        batch.n_seq_id[row] = 1
        batch.seq_id[row][0] = sequence
        batch.logits[row] = not last_only or row == len(rows) - 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
