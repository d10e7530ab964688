"""`docker kill` of each container in turn, under load: `make test-deploy-full`.

A crash is brought back by Docker's restart policy; what `docker kill` ends stays down, as Docker takes it for
the operator's wish, until it is started again. Both are tried.
"""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from tests.deploy.suite.installation import Installation
from tests.deploy.suite.post_office import PostOffice
from tests.deploy.suite.program import Program
from tests.deploy.suite.telephone import Telephone
from tests.deploy.suite.traffic import Traffic, moment

SERVED = ("nginx", "ai-core", "telegram", "mail", "redis", "postgres", "mailserver")
BESIDES = (
    *("backup", "prometheus", "alertmanager", "grafana", "node-exporter"),
    *("redis-exporter", "postgres-exporter", "blackbox-exporter", "rspamd", "clamav"),
)
BEFORE, AWAY = 3.0, 4.0
"""Seconds of traffic before something dies, and while it is dead."""
PATIENCE = 60.0


@pytest.fixture(scope="session")
def traffic(program: Program, people: Telephone, post: PostOffice) -> Traffic:
    """All kinds at once."""
    return Traffic(program, people, post)


def test_every_container_is_killed_below(suite: Installation) -> None:
    assert suite.services() == sorted((*SERVED, *BESIDES))


@pytest.mark.parametrize("service", [*SERVED, *BESIDES])
def test_what_docker_kills_loses_nothing(suite: Installation, traffic: Traffic, service: str) -> None:
    with traffic.running() as written:
        moment(BEFORE)
        suite.engine.docker("kill", suite.container(service))
        moment(AWAY)
        suite.engine.docker("start", suite.container(service))
        suite.wait()
        moment(BEFORE)
    traffic.settle(written)
    print(f"{service}: {written.chats} chats, {len(written.messages)} messages, {len(written.mails)} mails")


@pytest.mark.parametrize("service", SERVED)
def test_what_crashes_comes_back_by_itself(suite: Installation, traffic: Traffic, service: str) -> None:
    container = suite.container(service)

    def state() -> dict[str, object]:
        facts: dict[str, object] = json.loads(suite.engine.docker("inspect", container))[0]
        return facts

    before = state()
    with traffic.running() as written:
        moment(BEFORE)
        os.kill(int(before["State"]["Pid"]), signal.SIGKILL)  # type: ignore[index]
        deadline = time.monotonic() + PATIENCE
        while state()["RestartCount"] == before["RestartCount"]:
            assert time.monotonic() < deadline, f"{service} stays down"
            time.sleep(0.2)
        suite.wait()
        moment(BEFORE)
    traffic.settle(written)


def test_programs_had_to_ask_again(program: Program) -> None:
    print(f"asked again: {program.retried} times")
    assert program.retried > 0
