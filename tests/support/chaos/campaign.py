"""Many runs, side by side, each known by its seed; what is done is kept, and need not be done again."""

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servicekit.journal import journal

LONGEST_SILENCE = 600.0
"""Real seconds; only ends what would hang for ever."""
ROOT = Path(__file__).resolve().parents[3]

Row = dict[str, Any]
"""What is kept of a run: its seed, faults, points, mishaps, seconds, cpu and starts, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """All runs of one service."""

    service: str
    program: str
    """Of Python, which is this."""
    door: str
    """Of make."""
    description: str
    runs: int
    """As long as nobody says otherwise."""
    long_outage: tuple[str, str]
    """The option for the run of seed 0, which is in real time, and what it is."""
    code: Sequence[str | None]
    """Files in the folders of the code that is tried, and of what tries it."""
    points: Sequence[str]
    sums: Callable[[Sequence[Row]], list[str]]
    """What is said of all runs about messages."""


def campaign(this: Campaign, perform_all: Callable[[Any, Any, Path], None]) -> int:
    """The exit status: 0 where nothing is wrong in any run.

    Args:
        perform_all: performs runs from a queue of seeds until it finds None, and puts rows into another; it
            is called in a process of its own.
    """
    options = _options(this)
    # An end in order takes the lanes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    done = {row["seed"]: row for row in _kept(options.results)}
    seeds = [seed for seed in range(options.first, options.first + options.runs) if seed not in done]
    if seeds:
        print(f"{len(seeds)} runs, {len(done)} done before; results in {options.results}", flush=True)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a") as file:
        for row in _performed(seeds, max(1, min(options.lanes, len(seeds))), options.keep, perform_all):
            done[row["seed"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
            _tell_faults(this, row)
    rows = [row for seed, row in done.items() if options.first <= seed < options.first + options.runs]
    print(_summary(this, rows))
    return 1 if any(row["faults"] for row in rows) else 0


def _performed(
    seeds: Sequence[int], lanes: int, keep: Path, perform_all: Callable[[Any, Any, Path], None]
) -> Iterator[Row]:
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    work, results = context.Queue(), context.Queue()
    for seed in [*seeds, *[None] * lanes]:
        work.put(seed)
    processes = [context.Process(target=perform_all, args=(work, results, keep)) for _ in range(lanes)]
    for process in processes if seeds else []:
        process.start()
    try:
        for count in range(1, len(seeds) + 1):
            yield results.get(timeout=LONGEST_SILENCE)
            if count % 20 == 0 or count == len(seeds):
                left = (time.monotonic() - began) / count * (len(seeds) - count)
                print(f"{count} of {len(seeds)}, about {left / 60:.0f} min left", flush=True)
        for process in processes if seeds else []:
            process.join()
    finally:
        for process in processes if seeds else []:
            process.terminate()


def _options(this: Campaign) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=this.program,
        description=this.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folder = ROOT / "var/chaos"
    parser.add_argument("--runs", type=int, default=this.runs)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--lanes", type=int, default=2, help="runs side by side")
    parser.add_argument("--results", type=Path, default=folder / f"{this.service}-{_digest(this)}.jsonl")
    parser.add_argument(
        "--keep", type=Path, default=folder / f"kept-{this.service}", help="what failed runs left"
    )
    option, what = this.long_outage
    parser.add_argument(option, dest="long", action="store_true", help=f"only one run, in real time: {what}")
    options = parser.parse_args()
    if options.long:
        options.first, options.runs, options.results = 0, 1, Path(os.devnull)
        # Read where the time is made: in the processes that are started from here.
        os.environ["CHAOS_FACTOR"] = "1"
    return options


def _digest(this: Campaign) -> str:
    """Of the code that is tried: with another, all runs are to be done again."""
    files = [*this.code, journal.__file__, __file__]
    digest = hashlib.sha256()
    for folder in sorted({Path(file).parent for file in files if file is not None}):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _kept(path: Path) -> Iterator[Row]:
    for line in path.read_text().splitlines() if path.exists() else []:
        yield json.loads(line)


def _tell_faults(this: Campaign, row: Row) -> None:
    if row["faults"]:
        print(f"\nseed {row['seed']}: killed {row['points']}, {row['happened']}")
        for fault in row["faults"]:
            print(f"  {fault}")
        print(f"  again: make {this.door} CHAOS='--first {row['seed']} --runs 1 --results /dev/null'")


def _summary(this: Campaign, rows: Sequence[Row]) -> str:
    killed = Counter(point for row in rows for point in row["points"])
    happened = Counter(what for row in rows for what in row["happened"])
    seconds = sorted(row["seconds"] for row in rows)
    lines = [
        "",
        f"runs                    {len(rows)}, {sum(bool(row['faults']) for row in rows)} with faults",
        *this.sums(rows),
        f"processes               {total(rows, 'starts')}",
        f"seconds per run         median {seconds[len(seconds) // 2]:.1f}, longest {seconds[-1]:.1f}",
        f"CPU seconds per run     {total(rows, 'cpu') / len(rows):.2f}",
        "happened",
        *(f"  {count:5}  {what}" for what, count in sorted(happened.items())),
        "killed",
        *(f"  {killed[point]:5}  {point}" for point in (*this.points, "anywhere")),
    ]
    return "\n".join(lines)


def total(rows: Sequence[Row], name: str) -> Any:
    """Of all runs."""
    return sum(row[name] for row in rows)
