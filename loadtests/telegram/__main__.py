"""Measures the Telegram service under load, and says what was passed and what was missed."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtests.telegram.city import FIRST_PERSON, PEOPLE
from loadtests.telegram.town import PATIENCE, SECRET, Town, town
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH

TELEGRAM_PER_SECOND = 30.0
LONGEST_DRAIN = 400.0


@dataclass(frozen=True, slots=True)
class Load:
    """How people write."""

    people: int
    messages: int
    gap: float
    """Seconds between two messages of one person."""
    together: bool = False
    """Whether the first ones come in the same moment."""

    @property
    def total(self) -> int:
        """All messages."""
        return self.people * self.messages


RUSH = Load(PEOPLE, 5, 12.0)
STEADY = Load(100, 4, 10.0)
WAVE = Load(PEOPLE, 1, 12.0, together=True)


@dataclass(frozen=True, slots=True)
class Line:
    """Something that is promised."""

    what: str
    figure: str
    passed: bool


def main() -> int:
    """The exit status: 0 where everything was passed."""
    parts: dict[str, Callable[[Town], list[Line]]] = {"rush": rush, "steady": steady, "wave": wave}
    kinds = ["sqlite", "postgresql"]
    parser = argparse.ArgumentParser(prog="loadtests.telegram", description=__doc__)
    parser.add_argument("--part", choices=[*parts], action="append", help="default: all")
    parser.add_argument("--database", choices=kinds, action="append", help="default: both")
    options = parser.parse_args()
    missed = 0
    for database in options.database or kinds:
        for part in options.part or parts:
            print(f"{part} on {database} …", flush=True)
            with town(database) as place:
                lines = parts[part](place)
            for line in lines:
                print(f"{'pass' if line.passed else 'MISS'}  {line.what:58} {line.figure}", flush=True)
            missed += sum(not line.passed for line in lines)
    return 1 if missed else 0


def rush(place: Town) -> list[Line]:
    """A thousand people at once."""
    began = time.time()
    report = _people(place, RUSH)
    _until_answered(place, RUSH.total)
    city = _city(place)
    answered, times = _answered(report, city)
    # From where all have written on, there is a backlog all the time.
    drained = sorted(at for at in times.values() if at > began + RUSH.gap)
    rate = (len(drained) - 1) / (drained[-1] - drained[0])
    return [
        Line(f"{RUSH.total:,} messages answered, each once", f"{answered:,}", answered == RUSH.total),
        Line("update stored, p95 below 100 ms", f"{report['p95']:.0f} ms", report["p95"] < 100),
        Line("calls that the webhook refused", f"{report['failures']}", report["failures"] == 0),
        Line(
            "backlog drained at 90 % of Telegram's 30 messages/s",
            f"{rate:.1f}/s, {rate / TELEGRAM_PER_SECOND:.0%}",
            rate >= 0.9 * TELEGRAM_PER_SECOND,
        ),
        Line(
            "calls that Telegram refused (429), below one in 1,000",
            f"{city['refused']}",
            city["refused"] * 1_000 < RUSH.total,
        ),
        _flat(place.costs.memory),
        _spent(place, RUSH.total),
    ]


def steady(place: Town) -> list[Line]:
    """Ten questions a second."""
    report = _people(place, STEADY)
    _until_answered(place, STEADY.total)
    answered, times = _answered(report, _city(place))
    waits = sorted(at - report["said"][word] for word, at in times.items())
    p95 = waits[int(0.95 * len(waits))]
    return [
        Line(f"{STEADY.total:,} messages answered, each once", f"{answered:,}", answered == STEADY.total),
        Line("at 10/s, arrival to complete answer, p95 below 3 s", f"{p95:.2f} s", p95 < 3),
        Line("… and the median", f"{waits[len(waits) // 2]:.2f} s", passed=True),
        Line("update stored, p95 below 100 ms", f"{report['p95']:.0f} ms", report["p95"] < 100),
        _spent(place, STEADY.total),
    ]


def wave(place: Town) -> list[Line]:
    """A thousand messages in one moment, over the forty connections that Telegram keeps."""
    report = _people(place, WAVE)
    _until_answered(place, WAVE.total)
    answered, _ = _answered(report, _city(place))
    waits = f"{report['p50']:.0f} ms, p95 {report['p95']:.0f} ms, the last {report['most']:.0f} ms"
    return [
        Line(f"{WAVE.total:,} messages answered, each once", f"{answered:,}", answered == WAVE.total),
        Line("calls that the webhook refused", f"{report['failures']}", report["failures"] == 0),
        Line("stored, waiting for a connection included", waits, passed=True),
    ]


def _flat(samples: list[float]) -> Line:
    """The last third of the service's memory is not much above the one before."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    before, after = sum(middle) / len(middle), sum(last) / len(last)
    return Line(
        "memory flat (last third within 5 % of the second)",
        f"{before:.0f} → {after:.0f} MB",
        after < 1.05 * before,
    )


def _spent(place: Town, messages: int) -> Line:
    return Line("ms of processor time a message", place.costs.told(messages), passed=True)


def _people(place: Town, load: Load) -> dict[str, Any]:
    """Let people write until each has written everything; what they say of it."""
    file = place.folder / "report.json"
    told = {
        "people": load.people,
        "messages": load.messages,
        "gap": load.gap,
        "together": load.together,
        "first_update": 1_000_000,
        "first_person": FIRST_PERSON,
        "path": WEBHOOK_PATH,
        "header": SECRET_HEADER,
        "secret": SECRET,
        "report": str(file),
    }
    # The last message of each comes when as many gaps have passed as there are messages.
    seconds = load.gap * load.messages + 10
    options = ["--headless", "-u", load.people, "-r", load.people, "-t", f"{seconds:.0f}s", "--only-summary"]
    locustfile = Path(__file__).with_name("locustfile.py")
    with (place.folder / "locust.log").open("w") as log:
        locust = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(locustfile), *map(str, options), "-H", place.webhook],
            env=os.environ | {"LOAD": json.dumps(told)},
            stdout=log,
            stderr=log,
        )
        while locust.poll() is None:
            place.costs.look()
            time.sleep(1.0)
    assert file.exists(), (place.folder / "locust.log").read_text()
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def _until_answered(place: Town, total: int) -> None:
    deadline = time.monotonic() + LONGEST_DRAIN
    while time.monotonic() < deadline:
        count = httpx.get(f"{place.telegram}/city/count", trust_env=False, timeout=PATIENCE).json()
        place.costs.look()
        if count >= total:
            return
        time.sleep(1.0)


def _city(place: Town) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{place.telegram}/city", trust_env=False, timeout=PATIENCE).json()
    return found


def _answered(report: dict[str, Any], city: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """How many were answered exactly once, and when all answers were complete."""
    times: dict[str, float] = {}
    twice = set()
    for word, at in city["answers"]:
        if word in times:
            twice.add(word)
        elif word in report["said"]:
            times[word] = at
    return len(times) - len(twice), times


if __name__ == "__main__":
    sys.exit(main())
