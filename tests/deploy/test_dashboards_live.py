"""Dashboards as an operator sees them: a real Prometheus, with the configuration that is deployed, has looked
at the real services while people used them, and has an answer to every question of every panel and rule. What
happens only when something is wrong shows a line at 0, so nothing may be empty."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import dashboards
from ai_core_service import Server, running
from mail_servers import somebody
from nginx_server import NginxServer
from prometheus_server import SOURCE, PrometheusServer, alertmanager, exporter
from running_service import PostOffice, question
from servers import HOST, PostgresServer, RedisServer
from telegram_house import House, open_house

WORDS = re.compile(r"\{\{(\w+)\}\}")
NAMES = re.compile(r"\b(?:neo|node|pg|redis|probe)_\w+")
NONE = "none"
"""What is written where nothing is wrong."""
FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
NOT_PROVOKED = {"Engines that were replaced", "What went wrong", "Put off, by what for"}


@pytest.fixture
def core(postgres_url: str, redis_url: str) -> Iterator[Server]:
    with running(DATABASE_URL=postgres_url, REDIS_URL=redis_url) as server:
        yield server


@pytest.fixture
async def house(core: Server, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(core, tmp_path, REDIS_URL=redis_url, MAX_MESSAGES_PER_MINUTE="2") as house:
        yield house


@dataclass
class Suite:
    """Everything that is watched."""

    core: Server
    house: House
    office: PostOffice
    limited_key: str

    async def is_used(self) -> None:
        """Somebody of each kind: programs, one of them in error and one over its limit; people; a robot."""
        await asyncio.gather(asyncio.to_thread(self._programs), self._people(), self._letters())

    def _programs(self) -> None:
        self.core.post("/api/v1/models/unload", {"model": "neo-demo"})
        for _ in range(2):
            self.core.say("Qu'est-ce qu'un CDI ?", cache="always", max_tokens=8)
        with self.core.stream({"prompt": f"Bonjour {time.monotonic()}", "stream": True}) as events:
            assert list(events)
        assert self.core.post("/api/v1/chat", {"prompt": "?", "temperature": 9}).status_code == 400
        statuses = [self._limited() for _ in range(2)]
        assert statuses[-1] == 429

    def _limited(self) -> int:
        body, headers = {"prompt": "?", "max_tokens": 1}, {"X-API-Key": self.limited_key}
        return self.core.post("/api/v1/chat", body, headers=headers).status_code

    async def _people(self) -> None:
        guest = self.house.guest()
        for text in ("Qu'est-ce qu'un CDD ?", "Quel préavis ?", "Et encore ?"):
            guest.say(text)
        assert len(await guest.hears(3)) == 3

    async def _letters(self) -> None:
        person, robot = somebody(), somebody()
        await asyncio.to_thread(self.office.send, question(person, self.office.address), person)
        absent = question(robot, self.office.address, Auto_Submitted="auto-replied")
        await asyncio.to_thread(self.office.send, absent, robot)
        await self.office.answers(person)


def _questions() -> dict[str, tuple[str, str]]:
    """Panel or rule, and line: the expression, and its legend."""
    found = {
        f"{name}: {row.title}: {panel.title}: {legend}": (expression, legend)
        for name, (_, rows) in dashboards.DASHBOARDS.items()
        for row in rows
        for panel in row.panels
        for legend, expression in panel.lines.items()
    }
    for group in yaml.safe_load((SOURCE / "rules" / "recording.yml").read_text())["groups"]:
        for rule in group["rules"]:
            found[rule["record"]] = (rule["record"], "")
    return found


async def test_every_question_has_an_answer(
    core: Server,
    house: House,
    post_office: PostOffice,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        async with post_office.service(core.url, AI_API_KEY=core.key) as mail:
            prometheus = _watching(stack, core, house, mail.url, postgres_server, redis_server, tmp_path)
            limited = core.post(
                "/api/v1/admin/keys", {"name": "limited", "scopes": ["generate"], "requests_per_minute": 1}
            )
            suite = Suite(core, house, post_office, limited.json()["key"])
            # What grows is seen from the second look on.
            for _ in range(2):
                await suite.is_used()
                await asyncio.to_thread(prometheus.look_at_everything)
            complaints = await asyncio.to_thread(_complaints, prometheus)
            if complaints:
                # On a busy machine a look may come to nothing.
                await asyncio.to_thread(prometheus.look_at_everything)
                complaints = await asyncio.to_thread(_complaints, prometheus)
            assert complaints == []


def _watching(
    stack: ExitStack,
    core: Server,
    house: House,
    mail_url: str,
    postgres: PostgresServer,
    redis: RedisServer,
    folder: Path,
) -> PrometheusServer:
    """All that watches, up."""
    hosts = {"AI_CORE": core.url, "TELEGRAM": house.url, "MAIL": mail_url}
    upstreams = {f"{name}_UPSTREAM": url.removeprefix("http://") for name, url in hosts.items()}
    nginx = NginxServer(upstreams, AI_DOMAIN="localhost")
    metrics = folder / "metrics"
    metrics.mkdir()
    # As deploy/backup/backup.sh leaves it.
    (metrics / "backup.prom").write_text(f"neo_backup_last_success_timestamp_seconds {int(time.time())}\n")
    user, password = postgres.url("").removeprefix("postgresql://").split("@")[0].split(":")
    parts = {
        "node-exporter:9100": exporter("node", f"--collector.textfile.directory={metrics}"),
        "redis-exporter:9121": exporter("redis", REDIS_ADDR=redis.url),
        "postgres-exporter:9187": exporter(
            "postgres",
            DATA_SOURCE_URI=f"{HOST}:{postgres.port}/postgres?sslmode=disable",
            DATA_SOURCE_USER=user,
            DATA_SOURCE_PASS=password,
        ),
        "blackbox-exporter:9115": exporter(
            "blackbox",
            f"--config.file={SOURCE}/blackbox.yml",
            SSL_CERT_FILE=str(nginx.folder / "authority.pem"),
        ),
        "alertmanager:9093": alertmanager(),
    }
    targets = {
        "ai-core": [upstreams["AI_CORE_UPSTREAM"]],
        "telegram": [upstreams["TELEGRAM_UPSTREAM"]],
        "mail": [upstreams["MAIL_UPSTREAM"]],
        "domains": [f"https://localhost:{nginx.https_port}/livez"],
    }
    key = core.post("/api/v1/admin/keys", {"name": "prometheus", "scopes": ["metrics"]}).json()["key"]
    addresses = {name: part.address for name, part in parts.items()}
    addresses["nginx:8443"] = f"{HOST}:{nginx.https_port}"
    prometheus = PrometheusServer(addresses, targets, key)
    for program in (nginx, *parts.values(), prometheus):
        stack.callback(program.close)
        program.start()
    return prometheus


def _complaints(prometheus: PrometheusServer) -> list[str]:
    """What is not reached, what is wrong, and which lines of panels show no number or not their legend."""
    up = prometheus.ask("up")
    found = [f"{job} is not asked" for job in prometheus.jobs - {labels["job"] for labels, _ in up}]
    found += [f"{labels['job']} does not answer" for labels, value in up if value != 1]
    found += [f"{labels} fires" for labels, _ in prometheus.ask(FIRING)]
    # From outside, and as nginx serves it behind a CDN: each with its certificate.
    seen = "probe_success == 1 and on (job, domain) probe_ssl_earliest_cert_expiry > time()"
    doors = {(labels["job"], labels["domain"]) for labels, _ in prometheus.ask(seen)}
    found += [f"{job} shut" for job, _ in {("door", "localhost"), ("origin", "localhost")} - doors]
    known = set(prometheus.get("metadata")) | set(prometheus.get("label/__name__/values"))
    for place, (expression, legend) in _questions().items():
        answers = [labels for labels, value in prometheus.ask(expression) if not math.isnan(value)]
        if not answers:
            found.append(f"{place}: empty")
        elif any(NONE in labels.values() for labels in answers):
            if not any(title in place for title in NOT_PROVOKED):
                found.append(f"{place}: does not show what happened")
        elif not any(set(WORDS.findall(legend)) <= labels.keys() for labels in answers):
            found.append(f"{place}: no legend")
        found += [f"{place}: no {name}" for name in NAMES.findall(expression) if name not in known]
    return found
