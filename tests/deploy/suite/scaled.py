"""Two of each service behind nginx: one of two is killed under load. Part of `make test-deploy-full`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tests.deploy.docker_engine import DockerEngine
from tests.deploy.suite.installation import Installation, clone
from tests.deploy.suite.inwards import Inwards
from tests.deploy.suite.telephone import Telephone

from telegram_server import TOKEN

PROJECT = "neoscaled"
NETWORK = "10.213.21"
"""Outside of what Docker gives to networks that ask for none."""
HTTP_PORT, HTTPS_PORT, TELEGRAM_PORT = 18_280, 18_743, 18_299
AI, BOT = "ai.scaled.test", "telegram.scaled.test"
PROGRAMS = 4
SECONDS = 3.0
"""Of load before somebody dies, and after."""
PATIENCE = 120.0
SETTINGS = {
    "COMPOSE_FILE": "docker-compose.yml:docker-compose.scale.yml",
    "COMPOSE_PROFILES": "telegram",
    "COMPOSE_PROJECT_NAME": PROJECT,
    "NEO_EDGE_NETWORK": f"{NETWORK}.0/24",
    "HTTP_PORT": str(HTTP_PORT),
    "HTTPS_PORT": str(HTTPS_PORT),
    "NGINX_REQUESTS_PER_SECOND": "1000",
    "NGINX_BURST": "1000",
    "AI_DOMAIN": AI,
    "TELEGRAM_DOMAIN": BOT,
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_API_URL": f"http://{NETWORK}.1:{TELEGRAM_PORT}",
    "WEBHOOK_URL": f"https://{BOT}",
    "THREADS": "1",
}


@dataclass(slots=True)
class Seen:
    """By programs that do as they are told: after a 503, they wait as long as it says and ask again."""

    answered: int = 0
    asked_again: int = 0
    """After a 503: what a replica had begun when it died."""
    cut_off: int = 0
    """Without any answer: asked again, too."""
    failed: list[str] = field(default_factory=list)


class Load:
    """Programs that ask one question after the other."""

    def __init__(self, trusted: Path, key: str) -> None:
        self._headers = {"x-api-key": key}
        self._trusted = trusted
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.seen = Seen()

    def run(self) -> None:
        """One program, until :meth:`stop`."""
        transport = Inwards(self._trusted, HTTPS_PORT)
        with httpx.Client(
            base_url=f"https://{AI}", transport=transport, headers=self._headers, timeout=60
        ) as http:
            number = 0
            while not self._over.is_set():
                number += 1
                self._ask(http, {"prompt": f"Question {id(http)} {number}", "max_tokens": 8})

    def _ask(self, http: httpx.Client, body: dict[str, object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                answer = http.post("/api/v1/chat", json=body)
            except httpx.TransportError:
                self._count("cut_off")
                continue
            if answer.status_code == httpx.codes.OK:
                self._count("answered")
                return
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or "retry-after" not in answer.headers:
                self.seen.failed.append(f"{answer.status_code} {answer.text[:200]}")
                return
            self._count("asked_again")
            time.sleep(float(answer.headers["retry-after"]))
        self.seen.failed.append("no answer came")

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self.seen, what, getattr(self.seen, what) + 1)

    def stop(self) -> None:
        """After the questions that are under way."""
        self._over.set()


@pytest.fixture(scope="module")
def twos(
    engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, Telephone]]:
    engine.make_python_image()
    engine.make_servers()
    twos = Installation(engine, tmp_path_factory.mktemp("scaled"), PROJECT)
    clone(twos.folder)
    example = (twos.folder / ".env.example").read_text().splitlines()
    kept = [line for line in example if line.split("=")[0] not in SETTINGS]
    changed = [f"{name}={value}" for name, value in SETTINGS.items()]
    (twos.folder / ".env").write_text("\n".join([*kept, *changed, ""]))
    twos.script("deploy/certificates.sh", BOT)
    people = Telephone(twos.certificate(BOT), TELEGRAM_PORT, HTTPS_PORT)
    try:
        print(twos.up())
        yield twos, people
    finally:
        twos.down()
        people.close()


def replicas(twos: Installation, service: str) -> list[str]:
    """Their containers' names, running or not."""
    names = twos.engine.docker(
        "ps", "-a", "--format", "{{.Names}}", "-f", f"name=^{PROJECT}_{service}_"
    ).split()
    return sorted(names)


def chosen(twos: Installation, service: str) -> int:
    """To how many of them nginx gives requests now."""
    configured = twos.inside("nginx", "cat", "/etc/nginx/conf.d/replicas.conf")
    block = configured.split(f"upstream {service}-replicas {{")[1].split("}")[0]
    return block.count("max_fails=1")


def until_chosen(twos: Installation, service: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while chosen(twos, service) != count:
        assert time.monotonic() < deadline, (service, count)
        time.sleep(0.2)


def test_two_of_each_take_requests(twos: tuple[Installation, Telephone]) -> None:
    for service in ("ai-core", "telegram"):
        assert len(replicas(twos[0], service)) == 2
        until_chosen(twos[0], service, 2)


@pytest.mark.parametrize("ending", ["kill", "stop", "pause"])
def test_one_ai_core_of_two_ends_under_load_and_no_question_stays_unanswered(
    twos: tuple[Installation, Telephone], ending: str
) -> None:
    suite, _ = twos
    until_chosen(suite, "ai-core", 2)
    certificate = suite.certificate(AI)
    key = suite.script(
        *("deploy/compose.sh", "exec", "-T", "ai-core", "ai-core", "keys", "create"),
        *("--name", f"load-{ending}", "--requests-per-minute", "0"),
    ).strip()
    load = Load(certificate, key)
    one = replicas(suite, "ai-core")[0]
    with ThreadPoolExecutor(PROGRAMS) as pool:
        programs = [pool.submit(load.run) for _ in range(PROGRAMS)]
        try:
            time.sleep(SECONDS)
            before = load.seen.answered
            suite.engine.docker(ending, one)
            until_chosen(suite, "ai-core", 1)
            time.sleep(SECONDS)
            during = load.seen.answered - before
            suite.engine.docker("unpause" if ending == "pause" else "start", one)
            until_chosen(suite, "ai-core", 2)
            time.sleep(SECONDS)
        finally:
            load.stop()
        for program in programs:
            program.result()
    print(f"docker {ending}: {load.seen}")
    assert load.seen.failed == []
    assert before > 0
    assert during > 0


def test_one_telegram_service_of_two_is_killed_and_everybody_is_answered_once(
    twos: tuple[Installation, Telephone],
) -> None:
    suite, people = twos
    until_chosen(suite, "telegram", 2)
    one = replicas(suite, "telegram")[0]
    numbers = range(1, 13)
    for number in numbers:
        if number == 4:
            suite.engine.docker("kill", one)
        people.say(number, f"Bonjour, question {number} ?")
    for number in numbers:
        assert people.until(number)[-1]
    suite.engine.docker("start", one)
    until_chosen(suite, "telegram", 2)
    assert [len(people.answers(number)) for number in numbers] == [1] * len(numbers)
