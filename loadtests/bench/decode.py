"""Scheduler efficiency: the engine's decode rate as a part of the bare loop's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ai_core.engine.messages import EngineConfig, Sampling
from loadtests.bench.engine_process import engine
from loadtests.bench.statistics import median

STEPS = 40
DEPTH = 32
CELLS = 16_384
KV_TYPE = "f16"
"""Of both: the bound is to be that of the same cache."""
SEQUENCES = (1, 8, 16)
GREEDY = Sampling(temperature=0, ignore_eos=True)
DEFAULT = Sampling(temperature=0.7, top_p=0.9, ignore_eos=True)

Ratio = dict[str, float]


def measure(model: Path, threads: int, rounds: int, say: Callable[[str], None]) -> dict[str, Ratio]:
    """Medians over alternated rounds: bare loop and engine take turns, so that a machine whose speed
    drifts hurts both alike. Each run has an engine process of its own: like the bare loop's, its cache
    is empty, and cells that finished sequences hold make every step a little slower."""
    config = EngineConfig(
        model_path=str(model), max_sequences=16, kv_cells=CELLS, threads=threads, kv_type=KV_TYPE
    )

    def ours(sequences: int, sampling: Sampling) -> float:
        with engine(config) as process:
            return process.decode_rate(sequences, STEPS, DEPTH, sampling)

    results = {}
    with _bare_loop(model, threads) as bare:
        for n in SEQUENCES:
            first, second = partial(ours, n, GREEDY), partial(bare, n, STEPS, DEPTH)
            results[f"greedy at {n}"] = _alternate(rounds, first, second, say, f"decode at {n}")
    results["default sampling at 16 over greedy"] = _alternate(
        rounds, partial(ours, 16, DEFAULT), partial(ours, 16, GREEDY), say, "sampling at 16"
    )
    return results


def _alternate(
    rounds: int,
    first: Callable[[], float],
    second: Callable[[], float],
    say: Callable[[str], None],
    what: str,
) -> Ratio:
    pairs = []
    for number in range(rounds):
        say(f"{what}, round {number + 1} of {rounds}")
        pairs.append((first(), second()))
    return {
        "ratio": median([a / b for a, b in pairs]),
        "tokens_per_second": median([a for a, _ in pairs]),
        "reference_tokens_per_second": median([b for _, b in pairs]),
    }


@contextmanager
def _bare_loop(model: Path, threads: int) -> Iterator[Callable[[int, int, int], float]]:
    command = [sys.executable, "-m", "loadtests.bench.bare_loop", str(model), str(threads), KV_TYPE]
    environment = {**os.environ, "GOMP_SPINCOUNT": "1000"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines, orders = process.stdout, process.stdin
        json.loads(lines.readline())

        def run(sequences: int, steps: int, depth: int) -> float:
            orders.write(json.dumps({"sequences": sequences, "steps": steps, "depth": depth}) + "\n")
            orders.flush()
            return float(json.loads(lines.readline())["tokens_per_second"])

        try:
            yield run
        finally:
            orders.close()
            process.wait(30)
