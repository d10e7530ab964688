"""Random mishaps, and the question whether everybody was answered once all the same.

A run is made from a seed (``plan``): people write, the real service answers in a process of its own, and
meanwhile that process is killed at named points (``points``), the AI core, the database, Redis and Telegram
are away or misbehave (``outages``, ``core``), and updates come twice or out of order. When everything is
quiet, ``verdict`` compares the journal with what people saw. Time runs faster (``fast_time``), and services
are forked from a process that has imported everything (``zygote``).

``python -m telegram_chaos --help`` says how to repeat a run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from servicekit.journal import journal
from telegram_chaos.lane import perform_all
from telegram_chaos.plan import POINTS
from telegram_service import app

LONGEST_SILENCE = 300.0
"""Real seconds; only ends what would hang for ever."""
ROOT = Path(__file__).resolve().parents[5]


def main() -> int:
    """The exit status: 0 where nothing is wrong in any run."""
    options = _options()
    # An end in order takes the lanes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    done = {row["seed"]: row for row in _kept(options.results)}
    seeds = [seed for seed in range(options.first, options.first + options.runs) if seed not in done]
    lanes = max(1, min(options.lanes, len(seeds)))
    began = time.monotonic()
    if seeds:
        print(f"{len(seeds)} runs, {len(done)} done before; results in {options.results}", flush=True)
    context = multiprocessing.get_context("spawn")
    work, results = context.Queue(), context.Queue()
    for seed in seeds:
        work.put(seed)
    processes = [
        context.Process(target=perform_all, args=(work, results, options.keep), daemon=True)
        for _ in range(lanes)
    ]
    for process in processes:
        work.put(None)
        process.start()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a") as file:
        for count in range(1, len(seeds) + 1):
            row = results.get(timeout=LONGEST_SILENCE)
            done[row["seed"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
            _tell(row, count, len(seeds), began)
    for process in processes:
        process.join()
    rows = [row for seed, row in done.items() if options.first <= seed < options.first + options.runs]
    print(_summary(rows))
    return 1 if any(row["faults"] for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="telegram_chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--lanes", type=int, default=2, help="runs side by side")
    parser.add_argument("--results", type=Path, default=ROOT / "var/chaos" / f"telegram-{_digest()}.jsonl")
    parser.add_argument("--keep", type=Path, default=ROOT / "var/chaos/kept", help="what failed runs left")
    parser.add_argument(
        "--minute", action="store_true", help="only one run, in real time: the AI core is away for a minute"
    )
    options = parser.parse_args()
    if options.minute:
        options.first, options.runs, options.results = 0, 1, Path(os.devnull)
        # Read where the time is made: in the processes that are started from here.
        os.environ["CHAOS_FACTOR"] = "1"
    return options


def _digest() -> str:
    """Of the code that is tried: with another, all runs are to be done again."""
    folders = {Path(app.__file__).parent, Path(journal.__file__).parent, Path(__file__).parent}
    digest = hashlib.sha256()
    for folder in sorted(folders):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _kept(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines() if path.exists() else []:
        yield json.loads(line)


def _tell(row: dict[str, Any], count: int, total: int, began: float) -> None:
    left = (time.monotonic() - began) / count * (total - count)
    if row["faults"]:
        print(f"\nseed {row['seed']}: killed {row['points']}, outages {row['outages']}")
        for fault in row["faults"]:
            print(f"  {fault}")
        print(f"  again: make chaos CHAOS='--first {row['seed']} --runs 1 --results /dev/null'")
    if count % 20 == 0 or count == total:
        print(f"{count} of {total}, about {left / 60:.0f} min left", flush=True)


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    sums = partial(_sum, rows)
    killed = Counter(point for row in rows for point in row["points"])
    outages = Counter(outage for row in rows for outage in row["outages"])
    seconds = sorted(row["seconds"] for row in rows)
    lines = [
        "",
        f"runs                    {len(rows)}, {sum(bool(row['faults']) for row in rows)} with faults",
        f"messages                {sums('questions')}, answered {sums('answered')}",
        f"ambiguous sends         {sums('ambiguous')}, of {sums('cuts')} that were cut",
        f"processes               {sums('starts')}",
        f"seconds per run         median {seconds[len(seconds) // 2]:.1f}, longest {seconds[-1]:.1f}",
        f"CPU seconds per run     {sums('cpu') / len(rows):.2f}",
        "outages                 " + ", ".join(f"{what} {n}" for what, n in sorted(outages.items())),
        "killed",
        *(f"  {killed[point]:5}  {point}" for point in (*POINTS, "anywhere")),
    ]
    return "\n".join(lines)


def _sum(rows: Sequence[dict[str, Any]], name: str) -> Any:
    return sum(row[name] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
