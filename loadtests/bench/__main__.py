"""``python -m loadtests.bench``: measures everything in one run and prints a table.

With ``LLAMA_SERVER=/path/to/llama-server`` the peer runs the same loads with the same model, in
turn with ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from loadtests.bench import decode, edge, engines, overload, repetition, report
from loadtests.bench.client import connect
from loadtests.bench.loads import Figures, Loads, words
from loadtests.bench.model import ensure
from loadtests.bench.servers import Server, llama_server, neo, tokens_per_word
from loadtests.bench.statistics import median

VAR = Path("var/bench")
PARTS = ("decode", "loads", "engines", "edge", "overload", "repetition")
LOADS = ("shared", "unlike", "multi_turn", "mixed", "cancel_storm", "burst")


def main() -> None:
    arguments = _parse()
    VAR.mkdir(parents=True, exist_ok=True)
    model = ensure(VAR / "neo-bench-0.5b.gguf")
    threads = len(os.sched_getaffinity(0))
    results: report.Results = {"machine": _machine(threads)}
    if "decode" in arguments.parts:
        results["decode"] = decode.measure(model, threads, arguments.rounds, _say)
    if "loads" in arguments.parts:
        results["loads"], results["commands"] = _run_loads(model, threads, arguments)
    if "engines" in arguments.parts:
        results["engines"] = engines.measure(model, threads, VAR, arguments.repeats, _say)
    if "edge" in arguments.parts:
        _say("edge: 12,000 requests over an engine that answers at once")
        results["edge"] = edge.measure(VAR / "edge.log")
    if "overload" in arguments.parts:
        _say("overload: three times what can be served")
        results["overload"] = overload.measure(model, VAR / "overload.log")
    if "repetition" in arguments.parts:
        _say("repetition: 3,300 answers that were given before, and 50 who ask the same at once")
        results["repetition"] = repetition.measure(model, VAR / "repetition.log")
    _write(results, arguments.json)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), help="what to measure")
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS)
    parser.add_argument("--rounds", type=int, default=5, help="alternated rounds of the decode rates")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each load; medians are printed")
    parser.add_argument("--json", type=Path, default=VAR / "results.json")
    return parser.parse_args()


def _run_loads(
    model: Path, threads: int, arguments: argparse.Namespace
) -> tuple[dict[str, dict[str, Figures]], dict[str, str]]:
    """Every load on our server and on the peer, in turn: ours, theirs, ours, theirs…"""
    starters: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "neo": lambda: neo(model, VAR / "neo.log")
    }
    binary = os.environ.get("LLAMA_SERVER")
    if binary:
        starters["llama-server"] = lambda: llama_server(Path(binary), model, VAR / "peer.log", threads)
    runs: dict[str, dict[str, list[Figures]]] = {name: {} for name in starters}
    commands: dict[str, str] = {}
    for repeat in range(arguments.repeats):
        for load in arguments.loads:
            for name, start in starters.items():
                _say(f"{load} on {name}, run {repeat + 1} of {arguments.repeats}")
                with start() as server:
                    commands[name] = " ".join(server.command)
                    figures = asyncio.run(_load(server, load, repeat))
                runs[name].setdefault(load, []).append(figures)
                _say("  " + ", ".join(f"{figure} {value:.4g}" for figure, value in figures.items()))
    merged = {
        name: {load: _medians(figures) for load, figures in loads.items()} for name, loads in runs.items()
    }
    return merged, commands


async def _load(server: Server, load: str, seed: int) -> Figures:
    ratio = tokens_per_word(server, words(100, 77))
    async with connect(server.url, server.headers) as client:
        loads = Loads(client, ratio, seed)
        figures: Figures = await getattr(loads, load)()
    return figures


def _medians(runs: list[Figures]) -> Figures:
    return {figure: median([run[figure] for run in runs if figure in run]) for figure in runs[0]}


def _machine(threads: int) -> dict[str, object]:
    return {
        "threads": threads,
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _write(results: report.Results, path: Path) -> None:
    path.write_text(json.dumps(results, indent=2) + "\n")
    for name, command in results.get("commands", {}).items():
        print(f"{name}: {command}")
    print("\n" + report.loads_table(results) + "\n\n" + report.overload_table(results))
    print("\n" + report.engines_table(results) + "\n\n" + report.chunks_table(results))
    print("\n" + report.repetition_table(results))
    print("\n" + report.targets_table(results))
    print(f"\nAll figures: {path}")


def _say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
