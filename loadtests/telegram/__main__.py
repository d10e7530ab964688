"""Measures the Telegram service under load, and says what was passed and what was missed."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from loadtests.bench.servers import free_port
from loadtests.telegram.city import FIRST_PERSON, PEOPLE
from servers import PostgresServer
from telegram_chaos.core import KEY
from telegram_server import TOKEN
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH

SECRET = "of-the-load-test"  # noqa: S105 - nobody's
TELEGRAM_PER_SECOND = 30.0
PATIENCE = 60.0
LONGEST_DRAIN = 400.0


@dataclass(frozen=True, slots=True)
class Load:
    """How people write."""

    people: int
    messages: int
    gap: float
    """Seconds between two messages of one person."""

    @property
    def total(self) -> int:
        """All messages."""
        return self.people * self.messages


RUSH = Load(PEOPLE, 5, 12.0)
STEADY = Load(100, 4, 10.0)


@dataclass(frozen=True, slots=True)
class Line:
    """Something that is promised."""

    what: str
    figure: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Town:
    """What runs."""

    telegram: str
    service: psutil.Process
    webhook: str
    folder: Path


def main() -> int:
    """The exit status: 0 where everything was passed."""
    parser = argparse.ArgumentParser(prog="loadtests.telegram", description=__doc__)
    parser.add_argument("--part", choices=["rush", "steady"], action="append", help="default: both")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    parts: dict[str, Callable[[Town], list[Line]]] = {"rush": rush, "steady": steady}
    lines: list[Line] = []
    for part in options.part or parts:
        print(f"{part} on {options.database} …", flush=True)
        with town(options.database) as place:
            lines += parts[part](place)
    for line in lines:
        print(f"{'pass' if line.passed else 'MISS'}  {line.what:58} {line.figure}")
    return 0 if all(line.passed for line in lines) else 1


def rush(place: Town) -> list[Line]:
    """A thousand people at once."""
    began = time.time()
    memory = _Memory(place.service)
    report = _people(place, RUSH, memory)
    _until_answered(place, RUSH.total, memory)
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
        Line("calls that Telegram refused (429)", f"{city['refused']}", city["refused"] == 0),
        memory.line(),
    ]


def steady(place: Town) -> list[Line]:
    """Ten questions a second."""
    memory = _Memory(place.service)
    report = _people(place, STEADY, memory)
    _until_answered(place, STEADY.total, memory)
    answered, times = _answered(report, _city(place))
    waits = sorted(at - report["said"][word] for word, at in times.items())
    p95 = waits[int(0.95 * len(waits))]
    return [
        Line(f"{STEADY.total:,} messages answered, each once", f"{answered:,}", answered == STEADY.total),
        Line("at 10/s, arrival to complete answer, p95 below 3 s", f"{p95:.2f} s", p95 < 3),
        Line("… and the median", f"{waits[len(waits) // 2]:.2f} s", passed=True),
    ]


class _Memory:
    """Of the service: what it takes when everybody was there, and at the end."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.samples: list[float] = []
        self.cpu = 0.0

    def look(self) -> None:
        """A sample, in MB."""
        self.samples.append(self._process.memory_info().rss / 1e6)

    def line(self) -> Line:
        """Flat: the last third is not much above the one before."""
        third = len(self.samples) // 3
        middle, last = self.samples[third : 2 * third], self.samples[2 * third :]
        before, after = sum(middle) / len(middle), sum(last) / len(last)
        return Line(
            "memory flat (last third within 5 % of the second)",
            f"{before:.0f} → {after:.0f} MB",
            after < 1.05 * before,
        )


def _people(place: Town, load: Load, memory: _Memory) -> dict[str, Any]:
    """Let people write until each has written everything; what they say of it."""
    file = place.folder / "report.json"
    told = {
        "people": load.people,
        "messages": load.messages,
        "gap": load.gap,
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
            memory.look()
            time.sleep(1.0)
    assert file.exists(), (place.folder / "locust.log").read_text()
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def _until_answered(place: Town, total: int, memory: _Memory) -> None:
    deadline = time.monotonic() + LONGEST_DRAIN
    while time.monotonic() < deadline:
        count = httpx.get(f"{place.telegram}/city/count", trust_env=False, timeout=PATIENCE).json()
        memory.look()
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


@contextmanager
def town(database: str) -> Iterator[Town]:
    """The service between its people and the rest of the world."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neo-load-")))
        city = subprocess.Popen(
            [sys.executable, "-m", "loadtests.telegram.city"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.callback(city.wait)
        assert city.stdin is not None
        assert city.stdout is not None
        stack.callback(city.stdin.close)
        places = json.loads(city.stdout.readline())
        address = f"sqlite:///{folder}/telegram.db"
        if database == "postgresql":
            server = PostgresServer()
            stack.callback(server.close)
            server.start()
            address = server.create("load")
        port = free_port()
        webhook = f"http://127.0.0.1:{port}"
        environ = {
            "PATH": os.environ["PATH"],
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": places["telegram"],
            "TELEGRAM_PORT": str(port),
            "WEBHOOK_URL": webhook,
            "WEBHOOK_SECRET": SECRET,
            "AI_API_URL": places["core"],
            "AI_API_KEY": KEY,
            "DATABASE_URL": address,
            "SECRET_KEY": "a secret of the load test",
            "LOG_LEVEL": "warning",
        }
        command = [str(Path(sys.executable).with_name("telegram-service")), "run"]
        with (folder / "service.log").open("w") as log:
            service = psutil.Popen(command, env=environ, cwd=folder, stdout=log, stderr=log)
        stack.callback(_end, service, folder)
        _until_ready(webhook)
        yield Town(places["telegram"], psutil.Process(service.pid), webhook, folder)


def _until_ready(webhook: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{webhook}/readyz", trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the service does not start")


def _end(service: psutil.Popen, folder: Path) -> None:
    times = service.cpu_times()
    service.send_signal(signal.SIGTERM)
    service.wait(PATIENCE)
    said = (folder / "service.log").read_text()
    print(f"the service took {times.user + times.system:.0f} s of CPU; its log: {said[-2000:] or 'nothing'}")


if __name__ == "__main__":
    sys.exit(main())
