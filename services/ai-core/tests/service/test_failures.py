"""What callers meet when an engine dies, hangs or runs out of room, and what they never notice."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from ai_core_service import QUESTIONS, Server, Start, wait_until

ENDLESS: dict[str, Any] = {"prompt": "Bonjour", "temperature": 1.0, "ignore_eos": True, "max_tokens": 100_000}


def in_flight(pool: ThreadPoolExecutor, server: Server, count: int) -> list[Future[httpx.Response]]:
    """Requests that the engine is computing."""
    requests = [pool.submit(server.post, "/api/v1/chat", ENDLESS) for _ in range(count)]
    wait_until(lambda: server.metric("neo_requests_running") == count, f"{count} requests run")
    return requests


def assert_lost_politely(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["error"]["message"]


def test_a_killed_engine_costs_its_requests_a_503_and_the_next_one_works(start: Start) -> None:
    server = start()
    with ThreadPoolExecutor(3) as pool:
        requests = in_flight(pool, server, 3)
        os.kill(server.engine_pid(), signal.SIGKILL)
        for request in requests:
            assert_lost_politely(request.result())
    assert server.say(QUESTIONS[0])["finish_reason"] == "stop"
    assert server.metric("neo_engine_restarts_total") == 1


def test_a_stream_that_loses_its_engine_ends_with_an_error_event(start: Start) -> None:
    server = start()
    with server.stream({**ENDLESS, "stream": True}) as events:
        next(events)
        os.kill(server.engine_pid(), signal.SIGKILL)
        last = list(events)[-1]
    assert last["error"]["code"] == "engine_unavailable"


def test_a_hanging_engine_is_noticed_and_replaced(start: Start) -> None:
    server = start(ENGINE_STALL_TIMEOUT="2")
    stopped = server.engine_pid()
    with ThreadPoolExecutor(1) as pool:
        (request,) = in_flight(pool, server, 1)
        os.kill(stopped, signal.SIGSTOP)
        assert_lost_politely(request.result())
    assert server.say(QUESTIONS[0])["finish_reason"] == "stop"
    assert server.engine_pid() != stopped


def test_sixteen_growing_sequences_that_do_not_fit_all_finish_with_their_undisturbed_answers(
    start: Start,
) -> None:
    server = start(CONTEXT_LENGTH="512", KV_CELLS="512", MAX_SEQUENCES="16")
    questions = [f"{question}{mark}" for mark in ("", " ?") for question in QUESTIONS]
    alone = [server.say(question)["response"] for question in questions]
    with ThreadPoolExecutor(len(questions)) as pool:
        together = list(pool.map(lambda question: server.say(question)["response"], questions))
    assert together == alone
    assert server.metric("neo_engine_pauses_total") + server.metric("neo_engine_evictions_total") > 0


def test_a_client_that_leaves_frees_its_sequence_and_disturbs_nobody(start: Start) -> None:
    server = start()
    undisturbed = server.say(QUESTIONS[2])["response"]
    with ThreadPoolExecutor(1) as pool:
        with server.stream({**ENDLESS, "stream": True}) as events:
            next(events)
            answer = pool.submit(server.say, QUESTIONS[2])
        wait_until(
            lambda: server.metric("neo_requests_running") == 0, "the sequence of the one who left is free"
        )
        assert answer.result()["response"] == undisturbed


def test_a_client_that_leaves_without_streaming_frees_its_sequence_too(start: Start) -> None:
    server = start()
    with contextlib.suppress(httpx.ReadTimeout):
        httpx.post(
            server.url + "/api/v1/chat", json=ENDLESS, headers=server.headers, timeout=0.3, trust_env=False
        )
    wait_until(lambda: server.metric("neo_requests_running") == 0, "nothing runs any more")
    assert server.say(QUESTIONS[0])["finish_reason"] == "stop"


def test_sigterm_lets_running_answers_finish_refuses_new_ones_and_exits_with_0(start: Start) -> None:
    server = start()
    body = {**ENDLESS, "max_tokens": 1500, "stream": True}
    with server.stream(body) as events:
        next(events)
        server.process.send_signal(signal.SIGTERM)
        refused = _refusal(server)
        last = list(events)[-1]
    assert last["finish_reason"] == "length"
    assert last["usage"]["completion_tokens"] == 1500
    assert refused is None or (refused.status_code == 503 and "retry-after" in refused.headers)
    assert server.process.wait(60) == 0


def _refusal(server: Server) -> httpx.Response | None:
    """What a new request meets while the server drains; None when the door is closed already."""
    statuses: list[httpx.Response] = []

    def is_refused() -> bool:
        try:
            response = server.post("/api/v1/chat", {"prompt": "Bonjour", "max_tokens": 1})
        except httpx.TransportError:
            return True
        if response.status_code == 503:
            statuses.append(response)
        return bool(statuses)

    wait_until(is_refused, "new work is refused")
    return statuses[0] if statuses else None
