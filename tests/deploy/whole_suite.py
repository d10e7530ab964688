"""The whole suite in containers, as an operator starts it: `make test-deploy`.

Not part of `make test`: it needs a Docker engine and builds every image. deploy/README.md says what it
cannot cover.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from tests.deploy.docker_engine import ROOT, DockerEngine
from tests.emulators.telegram.world import Person

from telegram_server import TOKEN, TelegramServer, telegram_server

PROJECT = "neotest"
GATEWAY = "172.29.0.1"
"""This machine, as the containers see it."""
HTTP_PORT, HTTPS_PORT, TELEGRAM_PORT = 18_080, 18_443, 18_099
PATIENCE = 120.0
ANNE = 42
QUESTION = "Bonjour"
Result = TypeVar("Result")
KILLED = ("nginx", "ai-core", "telegram", "redis", "postgres")


@dataclass
class Suite:
    """An installation: its folder, and the engine that runs it."""

    engine: DockerEngine
    folder: Path

    def script(self, *command: str, **changed: str) -> str:
        return self.engine.script(*command, cwd=self.folder, **changed)

    def container(self, service: str) -> str:
        return self.engine.docker("ps", "-aq", "-f", f"name=^{PROJECT}_{service}_1$").strip()

    def secret(self, path: str) -> str:
        return (self.folder / "deploy" / "secrets" / path).read_text().strip()

    def client(self) -> httpx.AsyncClient:
        certificate = self.folder / "deploy" / "certificates" / "ai.localhost" / "fullchain.pem"
        context = ssl.create_default_context(cafile=str(certificate))
        headers = {"x-api-key": self.secret("telegram/ai_api_key"), "host": "ai.localhost"}
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{HTTPS_PORT}",
            verify=context,
            headers=headers,
            trust_env=False,
            timeout=60,
        )

    async def ask(self, client: httpx.AsyncClient, question: str = QUESTION) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": question}]}
        return await client.post("/api/v1/chat", json=body, extensions={"sni_hostname": "ai.localhost"})


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    engine = DockerEngine(Path(os.environ.get("NEO_DOCKER_DIR", ROOT / "var" / "docker")).resolve())
    engine.start()
    try:
        engine.make_stand_ins()
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an operator has after `git clone`, with llama.cpp as `make test` compiled it."""
    folder = tmp_path_factory.mktemp("site")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    wheels = list((ROOT / "var" / "wheels").glob("*/llama_cpp_python-*.whl"))
    wheels.sort(key=lambda path: path.stat().st_mtime)
    (folder / "deploy" / "wheels").mkdir()
    if wheels:
        shutil.copy(wheels[-1], folder / "deploy" / "wheels")
    return folder


class Telephone:
    """Somebody on Telegram. Its stand-in runs in a thread; containers reach it through a port here."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._telegram = self._wait(self._open())
        self._anne = self._telegram.world.add_person(Person(ANNE, "Anne", language_code="fr"))

    def say(self, text: str) -> None:
        async def say() -> None:
            self._telegram.world.say(self._anne, text=text)
            self._telegram.delivery.announce()

        self._wait(say())

    def answers(self) -> list[str]:
        async def answers() -> list[str]:
            return [message.versions[-1] for message in self._telegram.world.from_bot(ANNE)]

        return self._wait(answers())

    def until(self, count: int) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while len(answers := self.answers()) < count:
            assert time.monotonic() < deadline, answers
            time.sleep(0.2)
        return answers

    def close(self) -> None:
        self._wait(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _open(self) -> TelegramServer:
        telegram = await self._stack.enter_async_context(telegram_server(TOKEN))
        port = int(telegram.url.rpartition(":")[2])

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

        server = await asyncio.start_server(pass_on, None, TELEGRAM_PORT)
        self._stack.callback(server.close)
        return telegram


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="session")
def telephone() -> Iterator[Telephone]:
    telephone = Telephone()
    yield telephone
    telephone.close()


@pytest.fixture(scope="session")
def suite(engine: DockerEngine, site: Path, telephone: Telephone) -> Iterator[Suite]:
    suite = Suite(engine, site)
    settings = [
        *("COMPOSE_PROFILES=telegram", f"COMPOSE_PROJECT_NAME={PROJECT}"),
        *(f"HTTP_PORT={HTTP_PORT}", f"HTTPS_PORT={HTTPS_PORT}"),
        *(f"TELEGRAM_BOT_TOKEN={TOKEN}", f"TELEGRAM_API_URL=http://{GATEWAY}:{TELEGRAM_PORT}"),
        *("NGINX_REQUESTS_PER_SECOND=1000", "NGINX_BURST=1000"),
    ]
    example = (site / ".env.example").read_text()
    names = {setting.split("=")[0] for setting in settings}
    kept = [line for line in example.splitlines() if line.split("=")[0] not in names]
    (site / ".env").write_text("\n".join([*kept, *settings, ""]))
    try:
        print(suite.script("deploy/up.sh", WAIT_SECONDS="240"))
        yield suite
    finally:
        print(engine.try_docker("ps", "-a", "--format", "{{.Names}} {{.Status}}").stdout)
        suite.script("deploy/compose.sh", "down", "--volumes", "--timeout", "10")


async def test_a_chat_goes_round_through_nginx_with_tls(suite: Suite) -> None:
    async with suite.client() as client:
        answer = await suite.ask(client)
    assert answer.status_code == 200
    assert answer.json()["response"]


def test_images_hold_no_secret_no_compiler_and_nothing_that_lends_rights(suite: Suite) -> None:
    secrets = {
        path.read_text().strip()
        for path in (suite.folder / "deploy" / "secrets").rglob("*")
        if path.is_file()
    }
    for name in ("ai-core", "telegram", "mail"):
        image = f"neo-{name}:local"
        if not suite.engine.has_image(image):
            continue
        history = suite.engine.docker("history", "--no-trunc", image)
        assert not [secret for secret in secrets if secret in history]
        look = (
            "find / -xdev -perm /6000 -type f; which gcc g++ pip; ls -A /var/lib/apt/lists /var/cache; id -u"
        )
        found = suite.engine.docker("run", "--rm", "--entrypoint", "sh", image, "-c", look)
        assert [line for line in found.splitlines() if not line.endswith(":") and line] == ["10001"], image
        configuration = json.loads(suite.engine.docker("inspect", image))[0]["Config"]
        assert configuration["User"] == "10001:10001"
        assert configuration["Healthcheck"]


def test_containers_run_confined(suite: Suite) -> None:
    for service in ("nginx", "ai-core", "telegram", "redis"):
        facts = json.loads(suite.engine.docker("inspect", suite.container(service)))[0]
        assert facts["HostConfig"]["ReadonlyRootfs"], service
        assert facts["HostConfig"]["CapDrop"] == ["ALL"], service
        assert facts["Config"]["User"] == "10001:10001", service
        assert facts["HostConfig"]["Memory"] > 0, service
        mounts = facts["Mounts"]
        names = [mount["Source"] for mount in mounts if mount["Destination"] == "/run/secrets"]
        # Its own secrets and nobody else's.
        assert all(name.endswith(f"/deploy/secrets/{service}") for name in names)
        assert not [entry for entry in facts["Config"]["Env"] if suite.secret("redis/password") in entry]
    assert suite.engine.docker("ps", "--format", "{{.Ports}}").count("0.0.0.0:") == 2


def test_a_message_on_telegram_is_answered_once(suite: Suite, telephone: Telephone) -> None:
    before = len(telephone.answers())
    telephone.say(QUESTION)
    answers = telephone.until(before + 1)
    assert answers[-1]
    assert len(telephone.answers()) == before + 1


@pytest.mark.parametrize("service", KILLED)
def test_what_is_killed_comes_back_and_nothing_is_lost(
    suite: Suite, telephone: Telephone, service: str
) -> None:
    before = len(telephone.answers())
    telephone.say(QUESTION)
    suite.engine.docker("kill", suite.container(service))
    telephone.say(QUESTION)
    # An operator would do no more; `restart: unless-stopped` does not bring back what `docker kill` ended.
    suite.engine.docker("start", suite.container(service))
    suite.script("deploy/wait.sh", WAIT_SECONDS="120")
    telephone.until(before + 2)
    telephone.say(QUESTION)
    assert all(telephone.until(before + 3))
    assert len(telephone.answers()) == before + 3
