"""The mail service in a process of its own, between real servers and an AI core that answers at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
import psutil

from certificates import issue
from loadtests.mail.letters import BLOCKED
from mail_chaos.core import KEY
from mail_servers import PASSWORD, Dovecot, Postfix, somebody
from ports import free_port
from servers import PostgresServer, RedisServer

Kept = Literal["sqlite", "postgresql"]
SECRET = "a secret of the load test"  # noqa: S105 - nobody's
PATIENCE = 60.0
LOOK_SECONDS = 0.25
NO_LIMIT = "1000000"


@dataclass
class Service:
    """One process after the other, all of them looked at."""

    environ: dict[str, str]
    folder: Path
    url: str
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Moments, and MB that the process of then had in memory."""
    _ended_cpu: float = 0.0
    _process: psutil.Popen | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Returns when it is ready."""
        command = [str(Path(sys.executable).with_name("mail-service")), "run"]
        with (self.folder / "service.log").open("a") as log:
            self._process = psutil.Popen(command, env=self.environ, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/livez", trust_env=False).is_success:
                    return
            time.sleep(0.05)
        raise SystemExit(f"the service does not start: {self.said}")

    def end(self, how: signal.Signals) -> None:
        """Returns when it has ended."""
        process, self._process = self._process, None
        if process is not None:
            self._ended_cpu += _cpu_of(process)
            process.send_signal(how)
            process.wait(PATIENCE)

    @property
    def cpu(self) -> float:
        """Seconds, of all processes so far."""
        return self._ended_cpu + (_cpu_of(self._process) if self._process is not None else 0.0)

    @property
    def said(self) -> str:
        """The end of its log."""
        return (self.folder / "service.log").read_text()[-2_000:]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Its memory is looked at until the block ends."""
        watching = threading.Thread(target=self._watch)
        watching.start()
        try:
            yield
        finally:
            self._over.set()
            watching.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            process = self._process
            with contextlib.suppress(psutil.Error):
                if process is not None:
                    self.memory.append((time.time(), process.memory_info().rss / 1e6))


@dataclass(frozen=True, slots=True)
class Town:
    """What runs."""

    dovecot: Dovecot
    postfix: Postfix
    mailbox: str
    service: Service
    database_url: str
    folder: Path


@contextmanager
def town(kept: Kept, *, workers: int | None = None) -> Iterator[Town]:
    """Everything but the service is up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neo-load-")))
        folder.chmod(0o711)
        certificates = issue(folder)
        dovecot = Dovecot(certificates)
        stack.callback(dovecot.close)
        dovecot.start()
        postfix = Postfix(dovecot, certificates)
        stack.callback(postfix.close)
        postfix.start()
        redis = RedisServer()
        stack.callback(redis.close)
        redis.start()
        address, mailbox = _database(stack, kept, folder), somebody("example.test")
        port = free_port()
        environ = {
            **paths(),
            "EMAIL_ADDRESS": mailbox,
            "EMAIL_PASSWORD": PASSWORD,
            "IMAP_HOST": "localhost",
            "IMAP_PORT": str(dovecot.imaps_port),
            "SMTP_PORT": str(postfix.starttls_port),
            "CA_FILE": str(certificates.authority),
            "AI_API_URL": _core(stack),
            "AI_API_KEY": KEY,
            "DATABASE_URL": address,
            "REDIS_URL": redis.url,
            "SECRET_KEY": SECRET,
            "MAIL_PORT": str(port),
            "AUTHSERV_ID": "mx.example.test",
            "BLOCKED_SENDERS": BLOCKED,
            "MAX_EMAILS_PER_HOUR": NO_LIMIT,
            "MAX_SENDER_EMAILS_PER_HOUR": NO_LIMIT,
            "LOG_LEVEL": "warning",
        }
        if workers is not None:
            environ["WORKERS"] = str(workers)
        service = Service(environ, folder, f"http://127.0.0.1:{port}")
        stack.callback(service.end, signal.SIGTERM)
        yield Town(dovecot, postfix, mailbox, service, address, folder)


def _cpu_of(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def paths() -> dict[str, str]:
    """Where processes that are started from here find programs and modules: where this one does."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def until(reached: Callable[[], bool], patience: float, pause: float = 0.5) -> bool:
    """Whether it was reached."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if reached():
            return True
        time.sleep(pause)
    return False


def _database(stack: ExitStack, kept: Kept, folder: Path) -> str:
    if kept == "sqlite":
        return f"sqlite:///{folder}/mail.db"
    server = PostgresServer()
    stack.callback(server.close)
    server.start()
    return server.create("load")


def _core(stack: ExitStack) -> str:
    core = subprocess.Popen(
        [sys.executable, "-m", "loadtests.mail.core"],
        env=paths(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    stack.callback(core.wait)
    assert core.stdin is not None
    assert core.stdout is not None
    stack.callback(core.stdout.close)
    stack.callback(core.stdin.close)
    return core.stdout.readline().decode().strip()
