"""What a key may use, seen from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import httpx
import pytest

from access_keys import HEADERS, temporary_access
from ai_core.access.administration import KeyWish
from ai_core.access.caller import KeyLimits, PriorityClass, Scope
from ai_core.access.limits.redis_ledger import RedisLedger
from ai_core.api.application import create_application
from ai_core.engine.messages import Submit
from ai_core.errors import EngineUnavailable
from ai_core.inference.service import Limits
from ai_core.storage.redis_connection import RedisConnection
from edge_server import LIMITS, FakeEngine, Server, echo, error_of, listening, make_context, running_server
from servers import RedisServer

PROMPT = "Bonjour"
FAILED = EngineUnavailable("gone", retry_after=1)


class Key:
    """Speaks to a server with a key of its own."""

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self.headers = {"x-api-key": key}

    async def chat(self, prompt: str = PROMPT, **body: object) -> httpx.Response:
        headers = {"content-type": "application/json"} | self.headers
        content = httpx.Request("POST", "http://x", json={"prompt": prompt, **body}).content
        return await self._server.anonymous.post("/api/v1/chat", content=content, headers=headers)

    async def get(self, path: str) -> httpx.Response:
        return await self._server.anonymous.get(path, headers=self.headers)


async def key(server: Server, *scopes: Scope, **limits: int) -> Key:
    return Key(server, await server.new_key(*scopes, limits=KeyLimits(**limits)))


class TestRequestsPerMinute:
    async def test_one_too_many_is_refused_before_anything_is_done(self, echo_server: Server) -> None:
        limited = await key(echo_server, requests_per_minute=2)
        for remaining in ("1", "0"):
            response = await limited.chat()
            assert response.status_code == 200
            assert response.headers["x-ratelimit-limit"] == "2"
            assert response.headers["x-ratelimit-remaining"] == remaining
            assert 0 < int(response.headers["x-ratelimit-reset"]) <= 60
            assert response.headers["x-ratelimit-remaining-requests"] == remaining
        seen = len(echo_server.engine.requests)
        response = await limited.chat()
        assert response.status_code == 429
        error = error_of(response)
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
        assert 0 < int(response.headers["retry-after"]) <= 60
        assert response.headers["x-ratelimit-remaining"] == "0"
        assert len(echo_server.engine.requests) == seen
        assert await echo_server.metric("neo_limits_hit_total", kind="requests_per_minute") == 1

    async def test_every_answer_that_a_key_gets_tells_how_it_stands(self, echo_server: Server) -> None:
        limited = await key(echo_server, Scope.MODELS_READ, requests_per_minute=100)
        answers = [
            await limited.get("/v1/models"),
            await limited.get("/v1/models/none"),
            await limited.get("/nowhere"),
            await limited.get("/api/v1/admin/keys"),
            await limited.chat(),
        ]
        assert [answer.status_code for answer in answers] == [200, 404, 404, 403, 403]
        remaining = [answer.headers["x-ratelimit-remaining"] for answer in answers]
        assert remaining == ["99", "98", "97", "96", "95"]

    async def test_streams_tell_it_too(self, echo_server: Server) -> None:
        limited = await key(echo_server, requests_per_minute=10, tokens_per_minute=1000)
        response = await limited.chat(stream=True, max_tokens=100)
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-ratelimit-remaining"] == "9"
        assert response.headers["x-ratelimit-limit-tokens"] == "1000"

    async def test_who_has_no_limit_and_who_has_no_key_are_told_nothing(self, echo_server: Server) -> None:
        answers = [
            await echo_server.chat(prompt=PROMPT),
            await echo_server.anonymous.get("/livez"),
            await echo_server.anonymous.get("/v1/models"),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 401]
        assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]


class TestTokensPerMinute:
    async def test_what_an_answer_did_not_need_is_there_for_the_next(self, echo_server: Server) -> None:
        limited = await key(echo_server, tokens_per_minute=100)
        remaining = []
        for number in range(5):
            # 7 tokens of prompt and 2 of answer, says the engine; at most 50 and some more may come.
            response = await limited.chat(f"word {number}", max_tokens=50)
            assert response.status_code == 200
            remaining.append(int(response.headers["x-ratelimit-remaining-tokens"]))
        assert [before - after for before, after in pairwise(remaining)] == [7 + 2] * 4

    async def test_an_answer_that_may_need_too_much_waits_for_room(self, echo_server: Server) -> None:
        limited = await key(echo_server, tokens_per_minute=100)
        assert (await limited.chat(max_tokens=50)).status_code == 200
        response = await limited.chat(max_tokens=90)
        assert response.status_code == 429
        assert error_of(response)["code"] == "rate_limit_exceeded"
        assert 0 < int(response.headers["retry-after"]) <= 60
        assert response.headers["x-ratelimit-limit-tokens"] == "100"
        assert await echo_server.metric("neo_limits_hit_total", kind="tokens_per_minute") == 1

    async def test_a_request_that_can_never_pass_is_a_400(self, echo_server: Server) -> None:
        limited = await key(echo_server, tokens_per_minute=100)
        response = await limited.chat(max_tokens=101)
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["param"]) == ("request_too_large", "max_tokens")

    @pytest.mark.parametrize("how", ["it fails", "the client leaves", "the engine refuses it"])
    async def test_what_is_not_answered_to_its_end_costs_what_it_took(self, server: Server, how: str) -> None:
        limited = await key(server, tokens_per_minute=100, concurrent_requests=1)
        if how == "the engine refuses it":
            server.engine.refusal = FAILED
        asking = asyncio.create_task(limited.chat(max_tokens=90, stream=how != "it fails"))
        if how == "the engine refuses it":
            await asking
        else:
            answer = (await server.engine.next_answer()).say("one ", "two ")
            if how == "it fails":
                answer.fail(FAILED)
                await asking
            else:
                asking.cancel()
                await answer.cancelled.wait()
        await server.until_idle()
        server.engine.refusal = None
        asking = asyncio.create_task(limited.chat("again", max_tokens=80))
        (await server.engine.next_answer()).finish()
        response = await asking
        assert response.status_code == 200
        assert int(response.headers["x-ratelimit-remaining-tokens"]) >= 100 - 9 - 90

    async def test_an_answer_from_the_cache_costs_nothing(self, echo_server: Server) -> None:
        limited = await key(echo_server, tokens_per_minute=100)
        responses = [await limited.chat(temperature=0, max_tokens=50) for _ in range(20)]
        assert [response.status_code for response in responses] == [200] * 20
        assert len(echo_server.engine.requests) == 1

    async def test_embeddings_count(self, server: Server) -> None:
        limited = await key(server, tokens_per_minute=100)
        body = {"model": "fake-model", "input": ["un", "deux"]}
        asking = asyncio.create_task(
            server.anonymous.post("/v1/embeddings", json=body, headers=limited.headers)
        )
        (await server.engine.next_answer()).embed([1.0, 0.0], [0.0, 1.0])
        assert (await asking).headers["x-ratelimit-limit-tokens"] == "100"
        too_long = {"model": "fake-model", "input": "x" * 500}
        response = await server.anonymous.post("/v1/embeddings", json=too_long, headers=limited.headers)
        assert response.status_code == 400


class TestTokensPerDay:
    async def test_a_budget_that_is_used_up_comes_back_at_midnight(self, echo_server: Server) -> None:
        limited = await key(echo_server, tokens_per_day=100)
        statuses = [(await limited.chat(f"word {number}", max_tokens=50)).status_code for number in range(10)]
        # 9 tokens each; the last one that passes may need what is left.
        assert statuses == [200] * 5 + [429] * 5
        response = await limited.chat(max_tokens=50)
        assert 0 < int(response.headers["retry-after"]) <= 86_400
        assert "midnight UTC" in error_of(response)["message"]


class TestRequestsAtOnce:
    async def test_one_after_the_other_is_always_possible(self, echo_server: Server) -> None:
        limited = await key(echo_server, concurrent_requests=1)
        for stream in (False, True):
            statuses = [
                (await limited.chat(f"{stream} {number}", stream=stream)).status_code for number in range(10)
            ]
            assert statuses == [200] * 10

    async def test_one_too_many_at_once_is_refused(self, server: Server) -> None:
        limited = await key(server, concurrent_requests=1)
        first = asyncio.create_task(limited.chat("first"))
        answer = await server.engine.next_answer()
        response = await limited.chat("second")
        assert response.status_code == 429
        assert error_of(response)["code"] == "rate_limit_exceeded"
        assert int(response.headers["retry-after"]) >= 1
        answer.finish()
        assert (await first).status_code == 200

    async def test_several_answers_to_one_prompt_are_one_request(self, server: Server) -> None:
        limited = await key(server, concurrent_requests=1)
        body = {"messages": [{"role": "user", "content": PROMPT}], "n": 2}
        asking = asyncio.create_task(
            server.anonymous.post("/v1/chat/completions", json=body, headers=limited.headers)
        )
        for _ in range(2):
            (await server.engine.next_answer()).finish()
        assert (await asking).status_code == 200


class TestPlaces:
    async def test_a_key_that_asks_for_everything_leaves_room_for_others(self) -> None:
        limits = Limits(
            max_sequences=1, max_queued=4, max_queued_per_key=2, request_timeout=30, drain_timeout=30
        )
        async with running_server(FakeEngine(), limits) as server:
            greedy, modest = await key(server), await key(server)
            waiting = [asyncio.create_task(greedy.chat(f"number {number}")) for number in range(3)]
            await server.until(lambda: server.context.inference.requests.count == 3)
            response = await greedy.chat("one more")
            assert response.status_code == 429
            assert error_of(response)["code"] == "overloaded"
            assert "one API key" in error_of(response)["message"]
            waiting.append(asyncio.create_task(modest.chat()))
            for _ in waiting:
                (await server.engine.next_answer()).finish()
            assert [response.status_code for response in await asyncio.gather(*waiting)] == [200] * 4


class TestOrder:
    async def submitted(self, server: Server, headers: dict[str, str], **body: object) -> Submit:
        response = await server.anonymous.post(
            "/api/v1/chat", json={"prompt": PROMPT, **body}, headers=headers
        )
        assert response.status_code == 200
        return server.engine.requests[-1]

    @pytest.mark.parametrize("priority", PriorityClass)
    async def test_a_keys_class_is_its_requests_priority(
        self, echo_server: Server, priority: PriorityClass
    ) -> None:
        secret = await echo_server.new_key(priority=priority)
        request = await self.submitted(echo_server, {"x-api-key": secret})
        assert request.priority == priority

    @pytest.mark.parametrize(("header", "seconds"), [("30", 30), ("2.5", 2.5), ("3600", 3600), (None, 30)])
    async def test_a_caller_says_how_long_it_waits(
        self, echo_server: Server, header: str | None, seconds: float
    ) -> None:
        headers = HEADERS | ({} if header is None else {"X-Request-Timeout": header})
        request = await self.submitted(echo_server, headers)
        assert request.timeout == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "header", ["0", "-1", "3600.1", "soon", "1e3", "0x10", "", "٣", "nan", "30, 40", "30;q=1"]
    )
    async def test_a_time_that_is_none_is_named(self, echo_server: Server, header: str) -> None:
        headers = [(b"X-Request-Timeout", header.encode())]
        response = await echo_server.client.post("/api/v1/chat", json={"prompt": PROMPT}, headers=headers)
        assert response.status_code == 400
        error = error_of(response)
        assert error["param"] == "X-Request-Timeout"
        assert "'X-Request-Timeout' is a number of seconds" in error["message"]


@asynccontextmanager
async def replicas(redis_url: str, database: str | None = None) -> AsyncIterator[list[Server]]:
    """Two servers that share a Redis and a database."""
    async with AsyncExitStack() as stack:
        access = await stack.enter_async_context(temporary_access(database))
        servers = []
        for _ in range(2):
            connection = RedisConnection(redis_url)
            stack.push_async_callback(connection.close)
            ledger = RedisLedger(connection)
            stack.push_async_callback(ledger.close)
            engine = FakeEngine(script=echo)
            context = make_context(engine, LIMITS, access, ledger=ledger)
            stack.push_async_callback(context.limiter.close)
            application = create_application(context)
            port = await stack.enter_async_context(listening(application))
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
            )
            servers.append(Server(engine, context, application, client, client, port))
        yield servers


class TestReplicas:
    async def test_two_enforce_one_limit_together(self, redis_url: str, postgres_url: str) -> None:
        async with replicas(redis_url, postgres_url) as servers:
            wish = KeyWish(name="shared", scopes=frozenset(Scope), limits=KeyLimits(requests_per_minute=50))
            issued = await servers[0].context.access.keys.create(wish)
            keys = [Key(server, str(issued.key)) for server in servers]
            statuses = []
            for _ in range(15):
                waves = await asyncio.gather(*(key.get("/v1/models") for key in keys for _ in range(4)))
                statuses += [response.status_code for response in waves]
        assert statuses.count(200) == 50
        assert statuses.count(429) == 120 - 50

    async def test_nobody_notices_that_redis_comes_and_goes(
        self, redis_server: RedisServer, redis_url: str
    ) -> None:
        async with replicas(redis_url) as servers:
            wish = KeyWish(
                name="shared",
                scopes=frozenset(Scope),
                limits=KeyLimits(requests_per_minute=10, tokens_per_minute=100_000, concurrent_requests=4),
            )
            issued = await servers[0].context.access.keys.create(wish)
            keys = [Key(server, str(issued.key)) for server in servers]

            async def load(rounds: int) -> list[int]:
                statuses = []
                for number in range(rounds):
                    responses = await asyncio.gather(*(key.chat(f"number {number}") for key in keys))
                    statuses += [response.status_code for response in responses]
                return statuses

            assert set(await load(10)) == {200, 429}
            for pull in (redis_server.stop, redis_server.pause):
                await asyncio.to_thread(pull)
                during = await load(10)
                assert set(during) == {200}
                await asyncio.to_thread(redis_server.start)
                async with asyncio.timeout(5):
                    while 429 not in await load(10):
                        pass
            unavailable = sum(
                [
                    server.context.registry.get_sample_value("neo_limiter_unavailable_total") or 0
                    for server in servers
                ]
            )
            assert unavailable > 0
