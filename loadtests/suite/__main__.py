"""Measures the whole suite behind nginx, and says what was passed and what was missed."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import httpx
import psutil

from loadtests.mail import letters, mailboxes
from loadtests.plan import VARIABLE, Plan
from loadtests.suite import promises, report
from loadtests.suite.costs import Cost, Costs
from loadtests.suite.promises import AT_ONCE, Line, Outcome
from loadtests.suite.town import CORE, Engine, Town, answers, town

HERE = Path("var/load")
STEADY_SECONDS = 60.0
SETTLING = 3.0
"""Seconds after which the figures of a database are told anew, and a little more."""
LONGEST = 600.0


def main() -> int:
    """The exit status: 0 where everything was passed."""
    parser = argparse.ArgumentParser(prog="loadtests.suite", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="100 clients, 1,000 people, 1,000 mails, after that"
    )
    parser.add_argument("--only-full", action="store_true", help="only these")
    parser.add_argument("--engine", choices=get_args(Engine), action="append", help="default: both")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the full load: 0.1 is a tenth of everybody"
    )
    options = parser.parse_args()
    # Whatever was started is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lines: list[Line] = []
    if not options.only_full:
        lines += _short()
    if options.full or options.only_full:
        for engine in options.engine or get_args(Engine):
            lines += _full(engine, options.scale)
    print(f"The pages are in {HERE}.")
    return 0 if all(line.passed is not False for line in lines) else 1


def _short() -> list[Line]:
    """What is promised, with the demo model."""
    print("The whole suite with the demo model …", flush=True)
    with town("demo") as place:
        at_once, _ = _run(place, replace(place.plan, crowd=AT_ONCE), "at-once")
        per_minute = replace(place.plan, standard=10, people=60, letters=30, within=STEADY_SECONDS - 5.0)
        steady, costs = _run(place, per_minute, "steady", STEADY_SECONDS)
    lines = [*promises.crowd(at_once), *promises.steady(steady)]
    return _told("Load, with the demo model", lines, costs, "steady")


def _full(engine: Engine, scale: float) -> list[Line]:
    """Everything at once."""
    clients, people = round(20 * scale), round(1_000 * scale)
    print(
        f"{5 * clients} API clients, {people:,} people on Telegram, as many mails; engine: {engine} …",
        flush=True,
    )
    with town(engine) as place:
        plan = replace(
            place.plan,
            talkers=2 * clients,
            singles=2 * clients,
            readers=clients,
            people=people,
            letters=people,
        )
        outcome, costs = _run(place, plan, f"full-{engine}", plan.within + 5.0)
    return _told(f"Full load, engine: {engine}", promises.full(outcome), costs, f"full-{engine}")


def _told(title: str, lines: list[Line], costs: dict[str, Cost], name: str) -> list[Line]:
    for line in lines:
        print(line, flush=True)
    print("\n".join(report.cost_lines(costs)), flush=True)
    page = report.page(title, lines, costs, HERE / f"{name}-locust.html")
    (HERE / f"{name}.html").write_text(page, encoding="utf-8")
    return lines


def _run(place: Town, plan: Plan, name: str, seconds: float | None = None) -> tuple[Outcome, dict[str, Cost]]:
    """Let them come, and wait until the last one was answered. Without ``seconds``, until all are gone."""
    HERE.mkdir(parents=True, exist_ok=True)
    written = place.folder / f"{name}.json"
    file = place.folder / f"{name}-plan.json"
    plan = replace(plan, report=str(written))
    plan.write(file)
    people = _locust(plan, file, place.folder / f"{name}.log", HERE / f"{name}-locust.html", seconds)
    costs = Costs({**place.parts, "(people, locust)": psutil.Process(people.pid)}, CORE)
    began = time.monotonic()
    with costs.watched():
        try:
            people.wait()
        finally:
            people.kill()
        if not written.exists():
            raise SystemExit((place.folder / f"{name}.log").read_text()[-3_000:])
        mails = [letters.thread(f"q{number}", 1) for number in range(plan.letters)]
        senders = [mail.sender for mail in mails]
        _until(lambda: mailboxes.count(place.dovecot, senders) >= plan.letters and _idle(place.pages))
    took = time.monotonic() - began
    return _outcome(place, plan, seconds or took, took, senders), costs.told(took)


def _outcome(place: Town, plan: Plan, seconds: float, took: float, senders: list[str]) -> Outcome:
    found = _read(Path(plan.report))
    shown, came = answers(place), mailboxes.moments_by_id(place.dovecot, senders)
    if found["errors"]:
        print("\n".join(f"      {count} × {error}" for error, count in found["errors"].items()))
    print(f"      it took {took:.0f} s", flush=True)
    return Outcome(
        plan,
        seconds,
        found["figures"],
        found["errors"],
        tuple(sorted(shown[who] - at for who, at in found["said"].items() if who in shown)),
        tuple(sorted(came[what] - at for what, at in found["sent"].items() if what in came)),
    )


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def _locust(plan: Plan, file: Path, log: Path, page: Path, seconds: float | None) -> subprocess.Popen[bytes]:
    options = ["--headless", "-u", plan.total, "-r", plan.total, "--only-summary", "--html", page]
    if seconds is not None:
        options += ["-t", f"{seconds:.0f}s", "--stop-timeout", "120"]
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", "loadtests/suite/locustfile.py", *map(str, options)],
            env=os.environ | {VARIABLE: str(file)},
            stdout=output,
            stderr=output,
        )


def _idle(pages: tuple[str, ...]) -> bool:
    """Nothing waits for an answer, and nothing is still to be sent."""
    said = "\n".join(httpx.get(page, trust_env=False, timeout=60).text for page in pages)
    found = re.findall(r"^neo_\w+_(?:queue|outbox)_length (\S+)$", said, flags=re.MULTILINE)
    return len(found) == 2 * len(pages) and all(float(value) == 0 for value in found)


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST
    while not reached() and time.monotonic() < deadline:
        time.sleep(SETTLING)


if __name__ == "__main__":
    sys.exit(main())
