"""The service computes nothing twice, and remembers conversations; with and without Redis."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import redis

from ai_core_service import QUESTIONS, SYSTEM, Server, Start, running
from servers import RedisServer

SECRET = "an open secret of the tests"
BACK_WITHIN = 5.0
"""Seconds: what is promised."""


def generated(server: Server) -> float:
    return server.metric("neo_generated_tokens_total")


def joins(server: Server) -> float:
    return server.metric("neo_response_cache_requests_total", outcome="joined")


def ask(server: Server, question: str, **options: Any) -> httpx.Response:
    response = server.post("/api/v1/chat", {"prompt": question, "temperature": 0, **options})
    assert response.status_code == 200, response.text
    return response


def text_of(response: httpx.Response) -> str:
    """Of an answer, streamed or not."""
    if response.headers["content-type"] == "application/json":
        return str(response.json()["response"])
    events = [json.loads(line[5:]) for line in response.text.split("\n") if line.startswith("data:")]
    text = "".join(event.get("delta", "") for event in events)
    assert events[-1]["response"] == text
    return text


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_repeated_question_is_answered_from_the_cache_with_the_same_text(
    server: Server, question: str
) -> None:
    computed = server.say(question)
    first = ask(server, question).json()
    before = generated(server)
    again = [ask(server, question), ask(server, question, stream=True)]
    assert [text_of(response) for response in again] == [computed["response"]] * 2
    assert [response.headers["x-neo-cache"] for response in again] == ["hit", "hit"]
    assert first["response"] == computed["response"]
    assert again[0].json()["tokens_used"] == first["tokens_used"]
    assert generated(server) == before


def test_fifty_at_once_cost_one_generation(server: Server) -> None:
    question = "Combien de temps dure une période d'essai ?"
    alone = server.say(question)
    before = generated(server)
    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(lambda number: ask(server, question, stream=number % 2 == 0), range(50)))
    assert {text_of(response) for response in responses} == {alone["response"]}
    assert generated(server) - before == alone["usage"]["completion_tokens"]


def test_the_one_who_asked_first_may_leave(server: Server) -> None:
    """The text is long enough that the others are still waiting when the first one is gone."""
    body = {"prompt": "Raconte.", "temperature": 0, "ignore_eos": True, "max_tokens": 400, "stream": True}
    alone = server.say("Raconte.", ignore_eos=True, max_tokens=400)["response"]
    before, joined = generated(server), joins(server)
    with ThreadPoolExecutor(3) as pool:
        with server.stream(body) as events:
            next(events)
            others = [pool.submit(server.post, "/api/v1/chat", body) for _ in range(3)]
            while joins(server) < joined + 3:
                next(events)
        assert {text_of(other.result()) for other in others} == {alone}
    assert generated(server) - before == 400


def test_a_conversation_continues_and_shares_its_beginning(server: Server) -> None:
    session = {"session_id": "continues", "cache": "never"}
    opening = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTIONS[1]}]
    first = server.post("/api/v1/chat", {"messages": opening, "temperature": 0, **session}).json()
    second = ask(server, QUESTIONS[6], **session).json()
    by_hand = [
        *opening,
        {"role": "assistant", "content": first["response"]},
        {"role": "user", "content": QUESTIONS[6]},
    ]
    expected = server.post("/api/v1/chat", {"messages": by_hand, "temperature": 0, "cache": "never"}).json()
    assert second["response"] == expected["response"]
    assert second["usage"]["cached_prompt_tokens"] >= first["usage"]["prompt_tokens"]
    kept = server.get("/api/v1/sessions/continues").json()
    assert [message["content"] for message in kept["messages"]][-3:] == [
        first["response"],
        QUESTIONS[6],
        second["response"],
    ]


def test_a_long_conversation_never_ends_and_mostly_keeps_its_beginning(start: Start) -> None:
    server = start(CONTEXT_LENGTH="512")
    opening = {"role": "system", "content": SYSTEM[:150]}
    shared = 0
    for turn in range(40):
        question = {"role": "user", "content": QUESTIONS[turn % len(QUESTIONS)]}
        body = {"messages": [opening, question], "session_id": "long", "max_tokens": 60, "temperature": 0}
        answer = server.post("/api/v1/chat", body)
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        assert usage["prompt_tokens"] <= 512 - 60
        shared += usage["cached_prompt_tokens"] > usage["prompt_tokens"] / 2
    session = server.get("/api/v1/sessions/long").json()
    assert session["turns"] == 40
    assert session["dropped_turns"] > 20
    assert shared >= 25


def test_replicas_share_answers_and_conversations_and_redis_sees_no_text(redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "SECRET_KEY": SECRET}
    with ExitStack() as stack:
        one = stack.enter_context(running(**settings))
        two = stack.enter_context(running(**settings, **same_keys(one)))
        said = ask(one, QUESTIONS[2], session_id="s").json()["response"]
        assert ask(two, QUESTIONS[2]).json()["cached"] is True
        ask(two, QUESTIONS[6], session_id="s")
        contents = [m["content"] for m in one.get("/api/v1/sessions/s").json()["messages"]]
        assert contents[:3] == [QUESTIONS[2], said, QUESTIONS[6]]
        everything = stored(redis_url)
        assert any(b"cache:" in line for line in everything)
        assert any(b"session:" in line for line in everything)
        for text in (said, QUESTIONS[2], QUESTIONS[6], "neo-demo"):
            assert not any(text.encode() in line for line in everything)
        assert not any(b'"s"' in line for line in everything)


def same_keys(server: Server) -> dict[str, str]:
    """Settings for a replica that knows the same keys."""
    return {
        "DATABASE_URL": f"sqlite:///{server.key_path.parent}/ai-core.db",
        "LOCAL_KEY_PATH": str(server.key_path),
    }


def stored(redis_url: str) -> list[bytes]:
    """Every key and value."""
    client: Any = redis.Redis.from_url(redis_url)
    lines = []
    for key in client.scan_iter():
        kind = client.type(key)
        lines.append(key)
        if kind == b"string":
            lines.append(client.get(key))
        elif kind == b"hash":
            lines += [part for pair in client.hgetall(key).items() for part in pair]
        else:
            lines += client.zrange(key, 0, -1)
    client.close()
    return lines


def test_redis_may_go_and_come_back_while_questions_are_asked(redis_server: RedisServer) -> None:
    with running(REDIS_URL=redis_server.url) as server:
        answers = {question: server.say(question)["response"] for question in QUESTIONS}
        over = threading.Event()

        def ask_on(number: int) -> int:
            asked = 0
            while not over.is_set():
                question = QUESTIONS[(number + asked) % len(QUESTIONS)]
                assert ask(server, question).json()["response"] == answers[question]
                asked += 1
            return asked

        with ThreadPoolExecutor(4) as pool:
            askers = [pool.submit(ask_on, number) for number in range(4)]
            try:
                redis_server.stop()
                refused = server.post("/api/v1/chat", {"prompt": "Bonjour", "session_id": "s"})
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
                redis_server.start()
                back = time.monotonic()
                while (
                    server.post("/api/v1/chat", {"prompt": "Bonjour", "session_id": "s"}).status_code != 200
                ):
                    assert time.monotonic() - back < BACK_WITHIN
                while ask(server, QUESTIONS[0]).headers["x-neo-cache"] != "hit":
                    assert time.monotonic() - back < BACK_WITHIN
            finally:
                over.set()
            assert all(asker.result() > 0 for asker in askers)
        assert server.metric("neo_response_cache_store_failures_total") > 0


def test_without_a_cache_each_question_is_computed(start: Start) -> None:
    server = start(CACHE_TTL="0")
    assert [ask(server, QUESTIONS[0]).json()["cached"] for _ in range(2)] == [False, False]


def test_a_short_secret_key_is_refused() -> None:
    with pytest.raises(AssertionError, match="SECRET_KEY"), running(SECRET_KEY="too short"):
        pytest.fail("it started")
