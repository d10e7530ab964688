"""What a key has used, as its owner sees it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from access_keys import KEY
from ai_core.access.caller import Scope
from ai_core.access.usage import utc_now
from ai_core.errors import GenerationFailed
from ai_core.storage.usage import Amount, UsageKey
from edge_server import FakeAnswer, Server, error_of


async def usage(server: Server, **parameters: str) -> dict[str, Any]:
    response = await server.client.get("/api/v1/usage", params=parameters)
    assert response.status_code == 200, response.text
    facts: dict[str, Any] = response.json()
    return facts


async def test_every_answer_counts_at_once(echo_server: Server) -> None:
    for stream in (False, True):
        await echo_server.chat(prompt="one two three", stream=stream)
    await echo_server.openai()
    facts = await usage(echo_server)
    assert facts["key_id"] == KEY.id
    today = utc_now().date().isoformat()
    numbers = {
        "requests": 3,
        "prompt_tokens": 21,
        "completion_tokens": 7,
        "cached_prompt_tokens": 6,
        "cached_answers": 0,
        "total_tokens": 28,
    }
    assert facts["total"] == numbers
    assert facts["days"] == [{"day": today, "model": "fake-model"} | numbers]
    assert await echo_server.context.access.usage.tokens_of_day(KEY.id, utc_now().date()) == 28


async def test_what_was_computed_of_an_answer_that_broke_off_counts_too(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("a", "b").fail(GenerationFailed("no"))
    await server.chat(prompt="x")
    assert (await usage(server))["total"]["total_tokens"] == 9


async def test_what_was_refused_does_not_count(server: Server) -> None:
    await server.chat(prompt="x", model="unknown")
    await server.chat(prompt=1)
    assert (await usage(server))["days"] == []


def say(answer: FakeAnswer) -> None:
    answer.say("a").finish()


async def test_each_key_sees_its_own_and_an_administrator_any(server: Server) -> None:
    server.engine.script = say
    other = await server.new_key(Scope.GENERATE)
    headers, other_id = {"X-API-Key": other}, other.split("_")[1]
    await server.anonymous.post("/api/v1/chat", json={"prompt": "x"}, headers=headers)
    own = (await server.anonymous.get("/api/v1/usage", headers=headers)).json()
    assert (own["key_id"], own["total"]["requests"]) == (other_id, 1)
    assert (await usage(server))["total"]["requests"] == 0
    assert (await usage(server, key_id=other_id))["total"] == own["total"]
    refused = await server.anonymous.get("/api/v1/usage", params={"key_id": KEY.id}, headers=headers)
    assert refused.status_code == 403
    assert error_of(refused)["code"] == "insufficient_scope"
    named = await server.anonymous.get("/api/v1/usage", params={"key_id": other_id}, headers=headers)
    assert named.json() == own


async def test_days_are_chosen(server: Server) -> None:
    today = utc_now().date()
    ledger = server.context.access.usage
    days = [today - timedelta(days=days) for days in (0, 1, 40)]
    await ledger._repository.add({UsageKey(KEY.id, day, "m"): Amount(requests=1) for day in days})
    assert [entry["day"] for entry in (await usage(server))["days"]] == [
        day.isoformat() for day in reversed(days[:2])
    ]
    since = {"from": days[2].isoformat()}
    assert (await usage(server, **since))["total"]["requests"] == 3
    one = {"from": days[2].isoformat(), "to": days[2].isoformat()}
    assert (await usage(server, **one))["total"]["requests"] == 1


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "from"),
        ({"day": "2026-01-01"}, "day"),
        ({"from": ""}, "from"),
    ],
)
async def test_days_that_are_none_are_named(server: Server, parameters: dict[str, str], param: str) -> None:
    response = await server.client.get("/api/v1/usage", params=parameters)
    assert response.status_code == 400
    assert error_of(response)["param"] == param


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
async def test_the_ends_of_time_are_days(server: Server, day: str) -> None:
    assert (await usage(server, to=day))["days"] == []
