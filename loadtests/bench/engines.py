"""Our server on each of its engines with the same Q8_0 file, with coalescing and without; the peer beside
it; what the size of a step does; and the same shape as converted safetensors.

``ENGINES_LOADS="shared unlike"`` and ``ENGINES_CHUNKS="32 64"`` measure less.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from loadtests.bench import safetensors_model
from loadtests.bench.client import connect
from loadtests.bench.loads import Figures, Loads, words
from loadtests.bench.servers import Server, llama_server, neo, tokens_per_word
from loadtests.bench.statistics import median

OPENVINO, LLAMA, PEER = "openvino", "llama.cpp", "llama-server"
CONVERTED = "converted safetensors"
SINGLY = " without coalescing"
"""Behind an engine's name: ``ENGINE_COALESCING=false``. Those who ask at the same time compute their prefix
each; those who come later find what was left behind at the end of an answer. On both engines, nobody shares
what somebody still computes."""
LOADS = {
    OPENVINO: ("shared", "unlike", "mixed", "alone"),
    LLAMA: ("shared", "unlike", "mixed", "alone"),
    OPENVINO + SINGLY: ("shared",),
    LLAMA + SINGLY: ("shared",),
    PEER: ("shared", "unlike", "mixed", "alone"),
    CONVERTED: ("unlike", "alone"),
}
CHUNKS = (16, 32, 64, 128, 256)

Start = Callable[[], AbstractContextManager[Server]]
Measured = dict[str, dict[str, Figures]]


def measure(
    model: Path, threads: int, var: Path, repeats: int, say: Callable[[str], None]
) -> dict[str, Measured]:
    """``by_engine``: every load on every engine, in turn, medians of the repeats; ``by_chunk``: the loads
    *mixed* and *unlike* on OpenVINO, by tokens of a long
    prompt in a step."""
    starters = _starters(model, threads, var)
    wanted = os.environ.get("ENGINES_LOADS", "shared unlike mixed alone").split()
    runs: dict[str, dict[str, list[Figures]]] = {}
    for repeat in range(repeats):
        for load in wanted:
            for name, start in starters.items():
                if load in LOADS[name]:
                    say(f"{load} on {name}, run {repeat + 1} of {repeats}")
                    figures = _run(start, load, repeat)
                    runs.setdefault(name, {}).setdefault(load, []).append(figures)
                    say("  " + ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items()))
    chunks = [int(chunk) for chunk in os.environ.get("ENGINES_CHUNKS", " ".join(map(str, CHUNKS))).split()]
    return {
        "by_engine": {
            name: {load: _medians(several) for load, several in loads.items()} for name, loads in runs.items()
        },
        "by_chunk": {str(chunk): _by_chunk(chunk, model, var, say) for chunk in chunks},
    }


def _starters(model: Path, threads: int, var: Path) -> dict[str, Start]:
    kept = {"MODEL_CACHE_DIR": str(var / "models")}

    def ours(backend: str, coalescing: str = "true") -> Start:
        log = var / f"engines-{backend}.log"
        return partial(neo, model, log, ENGINE_BACKEND=backend, ENGINE_COALESCING=coalescing, **kept)

    converted = safetensors_model.ensure(var / "neo-bench-0.5b", model)
    starters: dict[str, Start] = {
        OPENVINO: ours("openvino"),
        LLAMA: ours("llama_cpp"),
        OPENVINO + SINGLY: ours("openvino", "false"),
        LLAMA + SINGLY: ours("llama_cpp", "false"),
        CONVERTED: partial(neo, converted, var / "engines-converted.log", **kept),
    }
    binary = os.environ.get("LLAMA_SERVER")
    if binary:
        starters[PEER] = lambda: llama_server(Path(binary), model, var / "engines-peer.log", threads)
    return starters


def _by_chunk(chunk: int, model: Path, var: Path, say: Callable[[str], None]) -> dict[str, Figures]:
    start = partial(
        neo,
        model,
        var / "engines-chunk.log",
        ENGINE_BACKEND="openvino",
        ENGINE_PREFILL_CHUNK=str(chunk),
        MODEL_CACHE_DIR=str(var / "models"),
    )
    say(f"mixed and unlike on {OPENVINO} with {chunk} tokens in a step")
    return {load: _run(start, load, chunk) for load in ("mixed", "unlike")}


def _run(start: Start, load: str, seed: int) -> Figures:
    with start() as server:
        return asyncio.run(_load(server, load, seed))


async def _load(server: Server, load: str, seed: int) -> Figures:
    ratio = tokens_per_word(server, words(100, 77))
    async with connect(server.url, server.headers) as client:
        figures: Figures = await getattr(Loads(client, ratio, seed), load)()
    return figures


def _medians(runs: list[Figures]) -> Figures:
    return {figure: median([run[figure] for run in runs if figure in run]) for figure in runs[0]}
