"""Several replicas on one Redis and one PostgreSQL, and what callers notice when these go away."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest

from ai_core_service import PATIENCE, QUESTIONS, Server, running, wait_until
from servers import PostgresServer, RedisServer

BACK_WITHIN = 5.0
"""Seconds in which a store that is back is in use again: the promise of the service's README."""
PER_MINUTE = 200


@pytest.fixture
def replicas(redis_url: str, postgres_url: str) -> Iterator[list[Server]]:
    """Two, each with the demo model; the second finds the keys that the first has made."""
    with ExitStack() as stack:
        first = stack.enter_context(running(REDIS_URL=redis_url, DATABASE_URL=postgres_url))
        shared = {"LOCAL_KEY_PATH": str(first.key_path)}
        second = stack.enter_context(running(REDIS_URL=redis_url, DATABASE_URL=postgres_url, **shared))
        yield [first, second]


def new_key(server: Server, **limits: object) -> tuple[str, str]:
    """Id and text of a new key."""
    body = {"name": "a program", "scopes": ["generate", "models:read"], **limits}
    response = server.post("/api/v1/admin/keys", body)
    assert response.status_code == 201, response.text
    made = response.json()
    return made["id"], made["key"]


def statuses(replicas: list[Server], key: str, requests: int) -> Counter[int]:
    """What so many requests get, sent to the replicas in turn, eight at a time."""

    def ask(number: int) -> int:
        url = replicas[number % len(replicas)].url + "/api/v1/models"
        return httpx.get(url, headers={"X-API-Key": key}, timeout=PATIENCE, trust_env=False).status_code

    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(ask, range(requests)))


def test_replicas_enforce_one_limit_together(replicas: list[Server]) -> None:
    _, key = new_key(replicas[0], requests_per_minute=PER_MINUTE)
    seen = statuses(replicas, key, 2 * PER_MINUTE)
    assert set(seen) == {200, 429}
    assert abs(seen[200] - PER_MINUTE) <= 0.02 * PER_MINUTE


def test_a_key_revoked_on_one_replica_opens_none(replicas: list[Server]) -> None:
    first, second = replicas
    key_id, key = new_key(first)
    assert statuses([second], key, 1) == {200: 1}
    revoked = httpx.delete(
        f"{first.url}/api/v1/admin/keys/{key_id}", headers=first.headers, timeout=PATIENCE, trust_env=False
    )
    assert revoked.is_success
    assert statuses([second], key, 1) == {401: 1}


@dataclass
class Load:
    """Clients that go on asking questions whose answers are known."""

    server: Server
    answers: dict[str, str]
    over: threading.Event = field(default_factory=threading.Event)
    seen: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def client(self, cache: str) -> None:
        while not self.over.is_set():
            for question, expected in self.answers.items():
                body = {"prompt": question, "temperature": 0, "cache": cache}
                response = self.server.post("/api/v1/chat", body)
                self.seen[response.status_code] += 1
                if response.status_code == 200:
                    if response.json()["response"] != expected:
                        self.wrong.append(question)
                else:
                    assert response.headers["retry-after"], response.text

    def answered_again(self, count: int = 20) -> None:
        """Returns when so many more requests were answered."""
        goal = self.seen[200] + count
        wait_until(lambda: self.seen[200] >= goal, "requests are answered")


def stores(server: Server) -> set[str]:
    parts = server.get("/api/v1/health").json()["parts"]["stores"]
    return {store["state"] for store in parts.values()}


def seconds_until_all_stores_are_in_use(server: Server) -> float:
    began = time.monotonic()
    wait_until(lambda: stores(server) == {"ok"}, "all stores are in use again")
    return time.monotonic() - began


def test_stores_that_go_and_come_under_load_cost_no_wrong_answer(
    redis_server: RedisServer, redis_url: str, postgres_server: PostgresServer, postgres_url: str
) -> None:
    with running(REDIS_URL=redis_url, DATABASE_URL=postgres_url) as server:
        answers = {question: str(server.say(question)["response"]) for question in QUESTIONS[:4]}
        load = Load(server, answers)
        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(load.client, cache) for cache in ("auto", "auto", "never", "never")]
            try:
                for store in (redis_server, postgres_server, redis_server, postgres_server):
                    load.answered_again()
                    store.stop()
                    # Keys that were verified within the last minute go on working, and limits stay open.
                    load.answered_again()
                    store.start()
                    assert seconds_until_all_stores_are_in_use(server) <= BACK_WITHIN
            finally:
                load.over.set()
            for client in clients:
                client.result()
        assert load.wrong == []
        assert set(load.seen) <= {200, 503}
        assert server.process.poll() is None
        assert server.metric("neo_engine_restarts_total") == 0
