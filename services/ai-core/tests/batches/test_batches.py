"""Batches over HTTP: handed over, answered behind everybody else, read, cancelled."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import select

from access_keys import KEY
from ai_core.access.caller import Caller, KeyLimits, PriorityClass, Scope
from ai_core.access.known_keys import KnownKeys
from ai_core.errors import EngineUnavailable, GenerationFailed
from ai_core.inference.batches.archive import Batches, Line
from ai_core.inference.batches.decisions import Outcome
from ai_core.inference.batches.metrics import BatchMetrics
from ai_core.inference.batches.runner import BatchRunner, Pace
from ai_core.storage.batches import BatchRepository, Claim
from ai_core.storage.keys import KeyRepository
from ai_core.storage.tables import batch_lines
from batch_server import JSONL, BatchServer, batch_server, chat, jsonl, runner_of
from edge_server import FakeAnswer, FakeEngine, echo, error_of, running_server
from servicekit.storage.sealing import SecretSeal


def words(results: list[dict[str, Any]]) -> dict[str, str]:
    """Answers by custom_id; each id once."""
    found = [(result["custom_id"], result["response"]["body"]["response"]) for result in results]
    assert len(dict(found)) == len(found)
    return dict(found)


async def test_every_line_gets_one_result_in_the_order_of_the_input(echoing: BatchServer) -> None:
    lines = [chat(f"id-{number}", f"number {number}") for number in range(25)]
    made = await echoing.post(lines)
    assert made.status_code == 201
    batch = made.json()
    assert batch["status"] == "in_progress"
    assert batch["request_counts"]["total"] == batch["request_counts"]["waiting"] == 25
    assert batch["progress"] == 0

    over = await echoing.ended(batch["id"])
    assert over["status"] == "completed"
    assert over["request_counts"] == {
        "total": 25, "completed": 25, "failed": 0, "cancelled": 0, "running": 0, "waiting": 0,
    }  # fmt: skip
    assert over["progress"] == 1
    assert over["created_at"] <= over["started_at"] <= over["finished_at"] < over["expires_at"]

    results = await echoing.results(batch["id"])
    assert [result["custom_id"] for result in results] == [line["custom_id"] for line in lines]
    assert words(results)["id-7"] == "number 7 "
    assert {result["response"]["status_code"] for result in results} == {200}
    assert {result["error"] for result in results} == {None}
    assert len({result["response"]["request_id"] for result in results}) == 25
    assert {request.priority for request in echoing.server.engine.requests} == {PriorityClass.BATCH}


async def test_lines_may_be_for_any_route_and_are_answered_as_there(echoing: BatchServer) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    lines = [
        chat("native"),
        {
            "custom_id": "openai",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "fake-model", "messages": messages},
        },
        {"custom_id": "text", "url": "/v1/completions", "body": {"model": "fake-model", "prompt": "a b"}},
        {"custom_id": "generate", "url": "/api/v1/generate", "body": {"prompt": "c d"}},
    ]
    batch = await echoing.make(lines)
    await echoing.ended(batch)
    bodies = {result["custom_id"]: result["response"]["body"] for result in await echoing.results(batch)}
    assert bodies["native"]["response"] == "Bonjour "
    assert bodies["openai"]["choices"][0]["message"]["content"] == "Hello "
    assert bodies["text"]["choices"][0]["text"] == "a b "
    assert bodies["generate"]["response"] == "c d "


async def test_embeddings_are_answered_too(silent: BatchServer) -> None:
    line = {"custom_id": "e", "url": "/v1/embeddings", "body": {"model": "fake-model", "input": "text"}}
    batch = await silent.make([line])
    (await silent.server.engine.next_answer()).embed([0.6, 0.8])
    await silent.ended(batch)
    (result,) = await silent.results(batch)
    assert len(result["response"]["body"]["data"][0]["embedding"]) == 2


async def test_what_fails_is_a_result_as_well(silent: BatchServer) -> None:
    batch = await silent.make([chat("a", "one"), chat("b", "two")])
    for _ in range(2):
        answer = await silent.server.engine.next_answer()
        assert answer.request.messages
        if answer.request.messages[-1].content == "one":
            answer.fail(GenerationFailed("It broke."))
        else:
            answer.say("fine").finish()
    over = await silent.ended(batch)
    assert (over["request_counts"]["completed"], over["request_counts"]["failed"]) == (1, 1)
    failed, done = await silent.results(batch)
    assert failed["response"]["status_code"] == 500
    assert failed["response"]["body"]["error"]["code"] == "generation_failed"
    assert done["response"]["body"]["response"] == "fine"


async def test_what_is_away_for_a_while_is_waited_for(silent: BatchServer) -> None:
    engine = silent.server.engine
    batch = await silent.make([chat("a")])
    (await engine.next_answer()).fail(EngineUnavailable("Lost.", retry_after=0.1))
    (await engine.next_answer()).say("at last").finish()
    await silent.ended(batch)
    (result,) = await silent.results(batch)
    assert result["response"]["body"]["response"] == "at last"


async def test_only_a_few_lines_run_at_once_and_others_are_answered_meanwhile(silent: BatchServer) -> None:
    server = silent.server
    batch = await silent.make([chat(f"{number}", f"line {number}") for number in range(6)])
    held = [await server.engine.next_answer() for _ in range(2)]
    other = asyncio.create_task(server.chat(prompt="somebody else"))
    answer = await server.engine.next_answer()
    assert answer.request.priority > held[0].request.priority
    answer.say("first").finish()
    assert (await other).json()["response"] == "first"
    facts = (await silent.get(batch)).json()
    assert (facts["request_counts"]["running"], facts["request_counts"]["waiting"]) == (2, 4)
    for answer in held:
        answer.finish()
    for _ in range(4):
        (await server.engine.next_answer()).finish()
    assert (await silent.ended(batch))["request_counts"]["completed"] == 6


async def test_results_can_be_read_while_it_runs(silent: BatchServer) -> None:
    batch = await silent.make([chat("a", "a"), chat("b", "b")])
    answers = [await silent.server.engine.next_answer() for _ in range(2)]
    second = next(a for a in answers if a.request.messages and a.request.messages[-1].content == "b")
    second.say("done").finish()
    await silent.wait_for(batch, lambda facts: facts["request_counts"]["completed"] == 1)
    assert words(await silent.results(batch)) == {"b": "done"}
    assert (await silent.get(batch)).json()["progress"] == 0.5


async def test_cancelling_stops_what_runs_and_keeps_what_is_there(silent: BatchServer) -> None:
    server = silent.server
    batch = await silent.make([chat(f"{number}", f"{number}") for number in range(4)])
    first, second = [await server.engine.next_answer() for _ in range(2)]
    first.say("done").finish()
    third = await server.engine.next_answer()
    response = await server.client.post(f"/api/v1/batches/{batch}/cancel")
    assert response.json()["status"] == "cancelled"
    for answer in (second, third):
        await answer.cancelled.wait()
    results = await silent.results(batch)
    assert [result["custom_id"] for result in results] == ["0", "1", "2", "3"]
    assert [result["response"] is not None for result in results].count(True) == 1
    assert {result["error"]["code"] for result in results if result["error"]} == {"batch_cancelled"}
    again = await server.client.post(f"/api/v1/batches/{batch}/cancel")
    assert again.status_code == 400
    assert error_of(again)["code"] == "batch_is_over"


async def test_deleting_stops_it_and_forgets_everything(silent: BatchServer) -> None:
    server = silent.server
    batch = await silent.make([chat("a"), chat("b", "other")])
    answer = await server.engine.next_answer()
    assert (await server.client.delete(f"/api/v1/batches/{batch}")).json() == {"id": batch, "deleted": True}
    await answer.cancelled.wait()
    for path in (batch, f"{batch}/results"):
        gone = await silent.get(path)
        assert (gone.status_code, error_of(gone)["code"]) == (404, "batch_not_found")
    assert (await silent.server.client.get("/api/v1/batches")).json() == {"batches": []}


async def test_another_key_cannot_tell_that_a_batch_exists(echoing: BatchServer) -> None:
    batch = await echoing.make([chat("a")])
    await echoing.ended(batch)
    headers = {"x-api-key": await echoing.server.new_key()}
    request = echoing.server.anonymous.request
    for method, path in (
        ("GET", batch),
        ("GET", f"{batch}/results"),
        ("POST", f"{batch}/cancel"),
        ("DELETE", batch),
    ):
        refused = await request(method, f"/api/v1/batches/{path}", headers=headers)
        nothing = await request(
            method, f"/api/v1/batches/{path.replace(batch, 'batch_none')}", headers=headers
        )
        assert refused.status_code == nothing.status_code == 404
        assert error_of(refused) == error_of(nothing)
    listed = await request("GET", "/api/v1/batches", headers=headers)
    assert listed.json() == {"batches": []}


async def test_a_revoked_key_has_nothing_more_answered(silent: BatchServer) -> None:
    server = silent.server
    key = await server.new_key()
    batch = await silent.make([chat(f"{number}", f"{number}") for number in range(5)], key)
    running = [await server.engine.next_answer() for _ in range(2)]
    await server.context.access.keys.revoke(key.split("_")[1])
    for answer in running:
        await answer.cancelled.wait()
    over = await silent.ended(batch, key.split("_")[1])
    assert over["status"] == "stopped"
    assert over["request_counts"]["cancelled"] == 5
    assert len(server.engine.requests) == 2


async def test_usage_is_counted_for_the_key(echoing: BatchServer) -> None:
    key = await echoing.server.new_key()
    batch = await echoing.make([chat(f"{number}", f"number {number}") for number in range(3)], key)
    await echoing.ended(batch, key.split("_")[1])
    headers = {"x-api-key": key}
    used = (await echoing.server.anonymous.get("/api/v1/usage", headers=headers)).json()
    assert used["total"]["requests"] == 3
    assert used["total"]["completion_tokens"] == 6


async def test_a_daily_budget_is_waited_for_and_nothing_fails(silent: BatchServer) -> None:
    server = silent.server
    key = await server.new_key(limits=KeyLimits(tokens_per_day=100))
    lines = [chat(f"{number}", f"{number}", max_tokens=60) for number in range(2)]
    batch = await silent.make(lines, key)
    (await server.engine.next_answer()).say(*["word "] * 60).finish()
    facts = await silent.wait_for(
        batch, lambda facts: facts["request_counts"]["completed"] == 1, key.split("_")[1]
    )
    while not await server.metric("neo_requests_total", route="/api/v1/chat", status="429"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    facts = await silent.wait_for(
        batch, lambda facts: facts["request_counts"]["waiting"] == 1, key.split("_")[1]
    )
    assert facts["status"] == "in_progress"
    assert facts["request_counts"]["failed"] == 0


async def test_minute_limits_do_not_hold_a_batch_up(echoing: BatchServer) -> None:
    key = await echoing.server.new_key(limits=KeyLimits(requests_per_minute=10, concurrent_requests=1))
    batch = await echoing.make([chat(f"{number}", f"{number}") for number in range(12)], key)
    over = await echoing.ended(batch, key.split("_")[1])
    assert over["request_counts"]["completed"] == 12


@pytest.mark.parametrize(
    ("line", "code", "parameter"),
    [
        (b"{", "invalid_json", "lines[1]"),
        (b"[]", "invalid_json", "lines[1]"),
        (b'"x"', "invalid_json", "lines[1]"),
        (b"{}", "missing_parameter", "lines[1].custom_id"),
        (jsonl([chat("")]), "invalid_value", "lines[1].custom_id"),
        (jsonl([chat("first")]), "invalid_request", "lines[1].custom_id"),
        (jsonl([{"custom_id": "b", "url": "/v1/models", "body": {}}]), "invalid_value", "lines[1].url"),
        (jsonl([chat("b") | {"method": "GET"}]), "invalid_value", "lines[1].method"),
        (jsonl([chat("b") | {"body": []}]), "invalid_value", "lines[1].body"),
        (jsonl([chat("b", temperature=3)]), "invalid_value", "lines[1].body.temperature"),
        (jsonl([chat("b", temprature=1)]), "unknown_parameter", "lines[1].body.temprature"),
        (jsonl([chat("b", stream=True)]), "invalid_request", "lines[1].body.stream"),
        (jsonl([chat("b", session_id="s")]), "invalid_request", "lines[1].body.session_id"),
        (jsonl([chat("b", messages=[])]), "invalid_value", "lines[1].body.messages"),
        (jsonl([chat("b", model="none")]), "model_not_found", "lines[1].body.model"),
        (jsonl([chat("b", "x" * 120_000)]), "line_too_large", "lines[1]"),
        (jsonl([chat("b", top_p=float("nan"))]), "invalid_value", "lines[1].body.top_p"),
    ],
)
async def test_one_wrong_line_is_named_and_nothing_is_stored(line: bytes, code: str, parameter: str) -> None:
    async with running_server(FakeEngine()) as server:
        content = jsonl([chat("first")]) + b"\n" + line + b"\n" + jsonl([chat("last")])
        refused = await server.client.post("/api/v1/batches", content=content, headers=JSONL)
        assert refused.status_code == (404 if code == "model_not_found" else 400)
        error = error_of(refused)
        assert (error["code"], error["param"]) == (code, parameter)
        assert error["message"].startswith("Line 2: ")
        assert (await server.client.get("/api/v1/batches")).json() == {"batches": []}


async def test_empty_lines_do_not_count_but_have_their_number() -> None:
    async with running_server(FakeEngine()) as server:
        content = b"\n" + jsonl([chat("a")]) + b"\r\n\n" + jsonl([chat("b")]) + b"\n"
        made = await server.client.post("/api/v1/batches", content=content, headers=JSONL)
        assert made.json()["request_counts"]["total"] == 2
        refused = await server.client.post("/api/v1/batches", content=b"\n\n{", headers=JSONL)
        assert error_of(refused)["param"] == "lines[2]"


async def test_no_more_than_ten_thousand_lines_and_the_largest_is_taken() -> None:
    async with running_server(FakeEngine()) as server:
        lines = [chat(f"{number}") for number in range(10_001)]
        refused = await server.client.post("/api/v1/batches", content=jsonl(lines), headers=JSONL)
        assert (refused.status_code, error_of(refused)["code"]) == (400, "too_many_lines")
        made = await server.client.post("/api/v1/batches", content=jsonl(lines[1:]), headers=JSONL)
        assert made.json()["request_counts"]["total"] == 10_000


async def test_bodies_of_other_kinds_and_sizes_are_refused() -> None:
    async with running_server(FakeEngine(), max_batch_bytes=10_000) as server:
        post = server.client.post
        for content, headers, status in (
            (b"", JSONL, 400),
            (b"\n \n", JSONL, 400),
            (b"{}", {"content-type": "application/json"}, 415),
            (b"{}", JSONL | {"content-encoding": "gzip"}, 415),
            (b" " * 10_001, JSONL, 413),
        ):
            refused = await post("/api/v1/batches", content=content, headers=headers)
            assert refused.status_code == status
            error_of(refused)
        ndjson = {"content-type": "application/x-ndjson; charset=utf-8"}
        taken = await post("/api/v1/batches", content=jsonl([chat("a")]), headers=ndjson)
        assert taken.status_code == 201


async def test_each_line_needs_the_scope_of_its_route() -> None:
    async with running_server(FakeEngine()) as server:
        for scope, status in ((Scope.EMBEDDINGS, 403), (Scope.GENERATE, 201)):
            headers = JSONL | {"x-api-key": await server.new_key(scope)}
            response = await server.anonymous.post(
                "/api/v1/batches", content=jsonl([chat("a")]), headers=headers
            )
            assert response.status_code == status
            if status == 403:
                assert error_of(response)["code"] == "insufficient_scope"


async def test_a_key_has_at_most_sixteen_in_progress() -> None:
    async with running_server(FakeEngine()) as server:

        async def post(name: str) -> httpx.Response:
            return await server.client.post("/api/v1/batches", content=jsonl([chat(name)]), headers=JSONL)

        assert [(await post(f"{number}")).status_code for number in range(16)] == [201] * 16
        refused = await post("one too many")
        assert (refused.status_code, error_of(refused)["code"]) == (429, "too_many_batches")
        assert refused.headers["retry-after"]


async def test_with_a_secret_neither_requests_nor_results_can_be_read_in_the_database() -> None:
    async with running_server(FakeEngine(script=echo)) as server:
        database = server.context.access.database
        sealed = Batches(BatchRepository(database), SecretSeal(b"0123456789abcdef", "batches"))
        object.__setattr__(server.context, "batches", sealed)
        runner = runner_of(server)
        made = await sealed.add(
            KEY.id, [line_of("planted-id", "planted question"), line_of("other", "another one")]
        )

        async def stored() -> bytes:
            async with database.reading() as connection:
                rows = await connection.execute(select(batch_lines.c.request, batch_lines.c.result))
                return b"".join(value or b"" for row in rows for value in row)

        assert b"planted" not in await stored()
        async with runner.running():
            await BatchServer(server, runner).ended(made.record.id)
        assert b"planted" not in await stored()
        results = [json.loads(line) async for line in sealed.results(made.record.id)]
        assert words(results) == {"planted-id": "planted question ", "other": "another one "}
        other = Batches(BatchRepository(database), SecretSeal(b"another secret of 16", "batches"))
        unreadable = [json.loads(line) async for line in other.results(made.record.id)]
        assert {result["error"]["code"] for result in unreadable} == {"unreadable"}


def line_of(custom_id: str, prompt: str) -> Line:
    return Line(custom_id, "/api/v1/chat", json.dumps({"prompt": prompt}).encode())


async def test_a_runner_that_is_stopped_gives_its_lines_to_the_next_one(address: str | None) -> None:
    async with batch_server(address) as first:
        server = first.server
        batch = await first.make([chat("a", "a"), chat("b", "b")])
        answers: list[FakeAnswer] = [await server.engine.next_answer() for _ in range(2)]
        await first.runner.stop()
        for answer in answers:
            await answer.cancelled.wait()
        assert (await first.get(batch)).json()["request_counts"]["waiting"] == 2
        async with runner_of(server).running():
            for _ in range(2):
                (await server.engine.next_answer()).say("done").finish()
            await first.ended(batch)
        assert words(await first.results(batch)) == {"a": "done", "b": "done"}


async def test_two_replicas_share_a_batch_and_answer_each_line_once(echoing: BatchServer) -> None:
    lines = [chat(f"{number}", f"line {number}") for number in range(40)]
    async with runner_of(echoing.server).running():
        batch = await echoing.make(lines)
        await echoing.ended(batch)
    assert len(words(await echoing.results(batch))) == 40
    assert len(echoing.server.engine.requests) == 40


async def test_each_line_has_a_log_line_and_no_text_is_in_it(echoing: BatchServer) -> None:
    with structlog.testing.capture_logs() as lines:
        batch = await echoing.make([chat("planted-id", "a planted secret")])
        await echoing.ended(batch)
    (line,) = [entry for entry in lines if entry.get("line") == 0]
    assert (line["event"], line["batch"], line["route"], line["status"]) == (
        "request", batch, "/api/v1/chat", 200,
    )  # fmt: skip
    assert line["key_id"] == KEY.id
    assert "planted" not in str(lines)


async def test_a_mistake_of_ours_costs_one_attempt_and_nothing_else() -> None:
    async with running_server(FakeEngine()) as server:
        asked: list[str] = []

        async def perform(caller: Caller, claim: Claim, line: Line) -> Outcome:
            asked.append(line.custom_id)
            if asked == ["0"]:
                raise KeyError(line.body)
            return Outcome(200, "r", b'{"response": "fine"}')

        context = server.context
        repository = BatchRepository(context.access.database)
        keys = KnownKeys(KeyRepository(context.access.database))
        pace = Pace(at_once=1, lease=0.2, renew_every=0.05, look_every=0.05)
        metrics = BatchMetrics(context.registry)
        runner = BatchRunner(repository, context.batches, keys, perform, metrics, pace)
        with structlog.testing.capture_logs() as lines:
            async with runner.running():
                made = await context.batches.add(KEY.id, [line_of("0", "planted"), line_of("1", "y")])
                over = await BatchServer(server, runner).ended(made.record.id)
        assert over["request_counts"]["completed"] == 2
        assert sorted(asked) == ["0", "0", "1"]
        assert [line["error"] for line in lines if line["event"] == "batches failed"] == ["KeyError"]
        assert "planted" not in str(lines)
        assert await server.metric("neo_batch_lines_total", outcome="done") == 2
        assert await server.metric("neo_batch_lines_running") == 0
