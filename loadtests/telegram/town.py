"""The service in a process of its own, between its people and the rest of the world."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from loadtests.bench.servers import free_port
from loadtests.telegram.costs import Costs
from servers import PostgresServer
from telegram_chaos.core import KEY
from telegram_server import TOKEN

SECRET = "of-the-load-test"  # noqa: S105 - nobody's
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Town:
    """What runs."""

    telegram: str
    webhook: str
    folder: Path
    costs: Costs


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
        yield Town(places["telegram"], webhook, folder, Costs(psutil.Process(service.pid)))


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
    service.send_signal(signal.SIGTERM)
    service.wait(PATIENCE)
    if said := (folder / "service.log").read_text():
        print(f"the service's log: {said[-2_000:]}")
