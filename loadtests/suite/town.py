"""The whole suite as processes of this machine behind a real nginx: as on a server, but for containers."""

from __future__ import annotations

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
from typing import Literal

import httpx
import psutil

from ai_core_service import DEMO_MODEL
from certificates import issue
from loadtests.plan import Plan
from mail_servers import PASSWORD, Dovecot, Postfix, somebody
from nginx_server import NginxServer
from ports import free_port
from servers import HOST, PostgresServer, Program, RedisServer
from telegram_server import TOKEN
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH

Engine = Literal["demo", "instant"]
"""The demo model, or an engine without a model that says at once what it was told: the suite's own cost."""
SECRET = "a-secret-of-the-load-test"  # noqa: S105 - nobody's
PATIENCE = 90.0
NO_LIMIT = "1000000"
MOST_SAID = 5
"""Lines of a log that are shown, beginning with warnings."""
MODEL = "neo-demo"
CORE = "AI core, API"


@dataclass(frozen=True, slots=True)
class Town:
    """What runs."""

    plan: Plan
    """Where everything is; nobody is there yet."""
    telegram: str
    dovecot: Dovecot
    parts: dict[str, psutil.Process]
    """By name, the first process of each."""
    pages: tuple[str, str]
    """Metrics of Telegram and mail."""
    folder: Path


class _Stack:
    """Starts one part after the other."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neo-load-")))
        self.folder.chmod(0o711)
        self.parts: dict[str, psutil.Process] = {}

    def server(self, name: str, program: Program) -> None:
        """One of the servers that services stand on."""
        self._stack.callback(program.close)
        program.start()
        assert program._process is not None
        self.parts[name] = psutil.Process(program._process.pid)

    def service(self, name: str, command: list[str], environ: dict[str, str], ready: str) -> None:
        """One of ours, which keeps its log in a file of its own."""
        log = self.folder / f"{name.split(',', maxsplit=1)[0].replace(' ', '-')}.log"
        program = str(Path(sys.executable).with_name(command[0]))
        with log.open("w") as output:
            process = psutil.Popen(
                [program, *command[1:]],
                env={"PATH": os.environ["PATH"], "LOG_LEVEL": "warning", **environ},
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )
        self._stack.callback(_end, process, log)
        _until_ready(ready, process, log)
        self.parts[name] = psutil.Process(process.pid)

    def telegram(self) -> str:
        """The emulator; where it is."""
        city = subprocess.Popen(
            [sys.executable, "-m", "loadtests.suite.city"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert city.stdin is not None
        assert city.stdout is not None
        self._stack.callback(city.wait)
        self._stack.callback(city.stdout.close)
        self._stack.callback(city.stdin.close)
        self.parts["(Telegram's emulator)"] = psutil.Process(city.pid)
        return city.stdout.readline().decode().strip()


@contextmanager
def town(engine: Engine) -> Iterator[Town]:
    """Everything is up, and nobody is there."""
    with ExitStack() as exits:
        stack = _Stack(exits)
        postgres, redis, certificates = PostgresServer(), RedisServer(), issue(stack.folder)
        stack.server("PostgreSQL", postgres)
        stack.server("Redis", redis)
        dovecot = Dovecot(certificates)
        stack.server("(Dovecot)", dovecot)
        postfix = Postfix(dovecot, certificates)
        stack.server("(Postfix)", postfix)
        telegram = stack.telegram()
        hosts = {name: f"{HOST}:{free_port()}" for name in ("AI_CORE", "TELEGRAM", "MAIL")}
        urls = {name: f"http://{host}" for name, host in hosts.items()}
        nginx = NginxServer(
            {f"{name}_UPSTREAM": host for name, host in hosts.items()},
            AI_DOMAIN="localhost",
            # All clients come from one address here; as deployed, each address has a bucket of its own.
            NGINX_CONNECTIONS_PER_ADDRESS="4000",
        )
        stack.server("nginx", nginx)
        shared = {"REDIS_URL": redis.url, "SECRET_KEY": SECRET}
        key_path = stack.folder / "local.key"
        stack.service(
            CORE,
            ["ai-core", "serve"],
            {
                **shared,
                **_model(engine),
                "API_PORT": hosts["AI_CORE"].split(":")[1],
                "DATABASE_URL": postgres.create("aicore"),
                "LOCAL_KEY_PATH": str(key_path),
                "TRUSTED_PROXIES": HOST,
            },
            f"{urls['AI_CORE']}/readyz",
        )
        key = key_path.read_text().strip()
        _warm(urls["AI_CORE"], key)
        stack.service(
            "Telegram service",
            ["telegram-service", "run"],
            {
                **shared,
                "TELEGRAM_BOT_TOKEN": TOKEN,
                "TELEGRAM_API_URL": telegram,
                "TELEGRAM_PORT": hosts["TELEGRAM"].split(":")[1],
                "WEBHOOK_URL": urls["TELEGRAM"],
                "WEBHOOK_SECRET": SECRET,
                "AI_API_URL": urls["AI_CORE"],
                "AI_API_KEY": _channel(urls["AI_CORE"], key, "telegram"),
                "DATABASE_URL": postgres.create("telegram"),
            },
            f"{urls['TELEGRAM']}/readyz",
        )
        mailbox = somebody("example.test")
        stack.service(
            "mail service",
            ["mail-service", "run"],
            {
                **shared,
                "EMAIL_ADDRESS": mailbox,
                "EMAIL_PASSWORD": PASSWORD,
                "IMAP_HOST": "localhost",
                "IMAP_PORT": str(dovecot.imaps_port),
                "SMTP_PORT": str(postfix.starttls_port),
                "CA_FILE": str(certificates.authority),
                "AI_API_URL": urls["AI_CORE"],
                "AI_API_KEY": _channel(urls["AI_CORE"], key, "mail"),
                "DATABASE_URL": postgres.create("mail"),
                "MAIL_PORT": hosts["MAIL"].split(":")[1],
                "AUTHSERV_ID": "mx.example.test",
                "MAX_EMAILS_PER_HOUR": NO_LIMIT,
                "MAX_SENDER_EMAILS_PER_HOUR": NO_LIMIT,
            },
            f"{urls['MAIL']}/readyz",
        )
        plan = Plan(
            url=f"https://localhost:{nginx.https_port}",
            key=key,
            model=MODEL,
            webhook_path=WEBHOOK_PATH,
            webhook_header=SECRET_HEADER,
            webhook_secret=SECRET,
            smtp_host=HOST,
            smtp_port=postfix.port,
            mailbox=mailbox,
        )
        pages = (f"{urls['TELEGRAM']}/metrics", f"{urls['MAIL']}/metrics")
        yield Town(plan, telegram, dovecot, stack.parts, pages, stack.folder)


def _model(engine: Engine) -> dict[str, str]:
    if engine == "demo":
        return {"MODEL_PATH": str(DEMO_MODEL), "MODEL_NAME": MODEL}
    # Its tokens are bytes.
    return {
        "MODEL_PATH": __file__,
        "MODEL_NAME": MODEL,
        "ENGINE_BACKEND": "scripted",
        "CONTEXT_LENGTH": "32768",
    }


def _warm(url: str, key: str) -> None:
    body = {"prompt": "Bonjour", "max_tokens": 4}
    answer = httpx.post(
        f"{url}/api/v1/chat", json=body, headers={"X-API-Key": key}, timeout=PATIENCE, trust_env=False
    )
    answer.raise_for_status()


def _channel(url: str, key: str, name: str) -> str:
    """A key as `ai-core keys create --channel` makes it."""
    wish = {
        "name": name,
        "scopes": ["generate", "models:read"],
        "requests_per_minute": 0,
        "fair_by_user": True,
    }
    made = httpx.post(f"{url}/api/v1/admin/keys", json=wish, headers={"X-API-Key": key}, trust_env=False)
    made.raise_for_status()
    return str(made.json()["key"])


def _until_ready(url: str, process: psutil.Popen, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit(f"{log.name}: it does not start:\n{log.read_text()[-2_000:]}")


def _end(process: psutil.Popen, log: Path) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    said = [line for line in log.read_text().splitlines() if line.startswith(("{", "Traceback"))]
    for line in said[:MOST_SAID]:
        print(f"      {log.stem}: {line[:300]}")
    if len(said) > MOST_SAID:
        print(f"      {log.stem}: … and {len(said) - MOST_SAID} lines more")


def answers(town: Town) -> dict[str, float]:
    """When each person on Telegram had their answer."""
    found: dict[str, float] = httpx.get(f"{town.telegram}/city", trust_env=False, timeout=PATIENCE).json()
    return found
