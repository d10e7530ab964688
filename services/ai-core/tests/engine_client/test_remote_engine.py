"""A remote model, over a real socket to a server that behaves as it likes."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from access_keys import KEY as OWN_KEY
from ai_core.engine.messages import (
    ChatMessage,
    ChatOptions,
    Delta,
    Finished,
    Grammar,
    Sampling,
    Submit,
    Tool,
    ToolCall,
)
from ai_core.engine_client.remote.breaker import FAILURES
from ai_core.engine_client.remote.engine import RemoteEngine
from ai_core.engine_client.remote.models import RemoteModels
from ai_core.engine_client.remote.upstream import Upstream
from ai_core.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    InvalidRequest,
    NeoError,
    Overloaded,
    UpstreamFailed,
    UpstreamUnavailable,
)
from edge_server import FakeEngine, Server, running_server
from remote_upstream import (
    KEY,
    MODEL,
    OPENAI_FIELDS,
    Asked,
    UpstreamServer,
    answering,
    end,
    hang_up,
    refusing,
    text,
    upstream_server,
)

HELLO = Submit(id=0, messages=[ChatMessage("user", "Bonjour")], sampling=Sampling(), timeout=60.0)


@pytest.fixture
async def upstream() -> AsyncIterator[UpstreamServer]:
    async with upstream_server() as server:
        yield server


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture
async def engine(upstream: UpstreamServer, key_file: Path) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine("ours", Upstream(upstream.url, MODEL, key_file, timeout=30.0))
    yield engine
    await engine.close()


async def answer(engine: RemoteEngine, request: Submit = HELLO) -> tuple[list[Delta], Finished]:
    *deltas, last = [event async for event in await engine.submit(request)]
    assert isinstance(last, Finished)
    return [delta for delta in deltas if isinstance(delta, Delta)], last


async def said(engine: RemoteEngine, request: Submit = HELLO) -> str:
    return "".join(delta.text for delta in (await answer(engine, request))[0])


async def refusal(engine: RemoteEngine, request: Submit = HELLO) -> NeoError:
    with pytest.raises(NeoError) as caught:
        await answer(engine, request)
    assert KEY not in caught.value.message
    return caught.value


def write(path: Path, content: str) -> None:
    path.write_text(content)


def ask(**fields: Any) -> Submit:
    return Submit(id=0, messages=HELLO.messages, timeout=60.0, **fields)


class TestAnswers:
    async def test_text_comes_through_as_it_is_sent_with_the_counts_of_the_server(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        usage = {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        upstream.does(answering(*text("Bon", "jour"), *end("length", **usage)))
        deltas, finished = await answer(engine)
        assert [delta.text for delta in deltas] == ["Bon", "jour"]
        assert (finished.reason, finished.prompt_tokens, finished.completion_tokens) == ("length", 11, 7)
        assert (finished.cached_prompt_tokens, finished.reasoning_tokens) == (4, 2)
        assert set(upstream.asked[0].body) <= OPENAI_FIELDS
        assert upstream.asked[0].body["model"] == MODEL

    async def test_a_piece_is_there_before_the_next_one_is_sent(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        read = asyncio.Event()

        async def script(asked: Asked) -> None:
            await asked.stream(*text("first"))
            await read.wait()
            for event in end():
                await asked.event(event)

        upstream.does(script)
        events = aiter(await engine.submit(HELLO))
        first = await anext(events)
        assert isinstance(first, Delta)
        assert first.text == "first"
        read.set()
        assert isinstance(await anext(events), Finished)

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    async def test_thoughts_are_apart_from_text(
        self, upstream: UpstreamServer, engine: RemoteEngine, field: str
    ) -> None:
        thought = {"choices": [{"delta": {field: "Hmm."}}]}
        upstream.does(answering(thought, *text("Oui."), *end()))
        deltas, finished = await answer(engine)
        assert [(delta.reasoning, delta.text) for delta in deltas] == [("Hmm.", ""), ("", "Oui.")]
        assert finished.reasoning_tokens == 1

    async def test_calls_of_functions_come_piece_by_piece(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        def call(index: int, **function: str) -> dict[str, Any]:
            named = {"id": f"call_{index}"} if "name" in function else {}
            return {"choices": [{"delta": {"tool_calls": [{"index": index, "function": function, **named}]}}]}

        upstream.does(
            answering(
                call(0, name="f", arguments=""),
                call(0, arguments='{"a":'),
                call(0, arguments="1}"),
                call(1, name="g", arguments="{}"),
                *end("tool_calls"),
            )
        )
        tools = [Tool("f", "does f", {"type": "object"}, strict=True), Tool("g")]
        request = ask(chat=ChatOptions(tools=tools, tool_choice="required", parallel_tool_calls=False))
        deltas, finished = await answer(engine, request)
        pieces = [(piece.index, piece.name, piece.arguments) for delta in deltas for piece in delta.calls]
        assert pieces == [(0, "f", ""), (0, "", '{"a":'), (0, "", "1}"), (1, "g", "{}")]
        assert finished.reason == "tool_calls"
        body = upstream.asked[0].body
        assert body["tool_choice"] == "required"
        assert body["parallel_tool_calls"] is False
        assert body["tools"][0]["function"] == {
            "name": "f",
            "description": "does f",
            "parameters": {"type": "object"},
            "strict": True,
        }

    async def test_log_probabilities_come_with_their_tokens(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        entry = {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [{"token": "e", "logprob": -1.5, "bytes": None}],
        }
        chunk = {"choices": [{"delta": {"content": "é"}, "logprobs": {"content": [entry]}}]}
        upstream.does(answering(chunk, *end()))
        deltas, _ = await answer(engine, ask(logprobs=1))
        assert deltas[0].logprobs is not None
        (token,) = deltas[0].logprobs
        assert (token.token, token.logprob) == ("é".encode(), -0.5)
        assert [(top.token, top.logprob) for top in token.top] == [(b"e", -1.5)]
        assert upstream.asked[0].body["logprobs"] is True
        assert upstream.asked[0].body["top_logprobs"] == 1

    async def test_all_that_openai_knows_is_passed_on(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        sampling = Sampling(
            temperature=0.1,
            top_p=0.5,
            presence_penalty=1.0,
            frequency_penalty=-1.0,
            seed=7,
            logit_bias={5: -9.0},
        )
        turns = [
            ChatMessage("user", "?"),
            ChatMessage("assistant", "", [ToolCall("call_1", "f", "{}")], reasoning="Hmm."),
            ChatMessage("tool", "42", tool_call_id="call_1"),
        ]
        grammar = Grammar("json_schema", '{"type": "object"}')
        await answer(
            engine,
            Submit(
                id=0,
                messages=turns,
                sampling=sampling,
                stop=["END"],
                max_tokens=9,
                grammar=grammar,
                chat=ChatOptions(reasoning_effort="low"),
            ),
        )
        body = upstream.asked[0].body
        assert (body["temperature"], body["top_p"], body["seed"], body["stop"]) == (0.1, 0.5, 7, ["END"])
        assert (body["presence_penalty"], body["frequency_penalty"]) == (1.0, -1.0)
        assert (body["max_tokens"], body["logit_bias"], body["reasoning_effort"]) == (9, {"5": -9.0}, "low")
        assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
        assert body["messages"][1]["reasoning_content"] == "Hmm."
        assert body["messages"][2]["tool_call_id"] == "call_1"

    async def test_a_raw_prompt_is_continued(self, upstream: UpstreamServer, engine: RemoteEngine) -> None:
        upstream.does(answering({"choices": [{"text": " jour"}]}, *end()))
        assert await said(engine, Submit(id=0, prompt="Bon")) == " jour"
        assert upstream.asked[0].path == "/v1/completions"
        assert upstream.asked[0].body["prompt"] == "Bon"

    async def test_vectors_have_length_one(self, upstream: UpstreamServer, engine: RemoteEngine) -> None:
        data = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4]}]
        upstream.does(refusing(200, {"data": data, "usage": {"prompt_tokens": 5}}))
        _, finished = await answer(engine, Submit(id=0, inputs=["a", [1, 2]], dimensions=2))
        assert array("f", finished.vectors).tolist() == pytest.approx([0.6, 0.8, 0.0, 1.0])
        assert finished.prompt_tokens == 5
        assert upstream.asked[0].body["dimensions"] == 2

    async def test_an_answer_that_all_comes_at_once_is_read_in_time(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.does(answering(*text(*["x"] * 5000), *end()))
        assert await said(engine) == "x" * 5000


class TestWhatServersUnderstand:
    @pytest.mark.parametrize(
        ("request_", "parameter"),
        [
            (ask(sampling=Sampling(top_k=5)), "top_k"),
            (ask(sampling=Sampling(min_p=0.1)), "min_p"),
            (ask(sampling=Sampling(repeat_penalty=1.1)), "repeat_penalty"),
            (ask(sampling=Sampling(ignore_eos=True)), "ignore_eos"),
            (ask(grammar=Grammar("gbnf", 'root ::= "a"')), "grammar"),
            (ask(adapter="formal"), "adapter"),
            (ask(chat=ChatOptions(template_options={"x": True})), "chat_template_kwargs"),
            (Submit(id=0, prompt="a", logprobs=1), "logprobs"),
            (Submit(id=0, prompt="a", grammar=Grammar("json_object")), "response_format"),
        ],
    )
    async def test_what_a_server_is_not_known_to_honour_is_refused_by_name(
        self, upstream: UpstreamServer, engine: RemoteEngine, request_: Submit, parameter: str
    ) -> None:
        error = await refusal(engine, request_)
        assert isinstance(error, InvalidRequest)
        assert error.parameter == parameter
        assert not upstream.asked

    @pytest.mark.parametrize(
        ("owner", "name"),
        [("vllm", "repetition_penalty"), ("llamacpp", "repeat_penalty"), ("neo", "repeat_penalty")],
    )
    async def test_what_it_honours_is_sent_by_its_own_name(
        self, upstream: UpstreamServer, engine: RemoteEngine, owner: str, name: str
    ) -> None:
        upstream.owner = owner
        await answer(engine, ask(sampling=Sampling(repeat_penalty=1.5, top_k=3)))
        assert upstream.asked[0].body[name] == 1.5
        assert upstream.asked[0].body["top_k"] == 3

    async def test_its_context_is_known_and_no_more_is_asked_for_than_fits(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.about = {"max_model_len": 100}
        await answer(engine, ask(max_tokens=4096))
        assert engine.ready is not None
        assert engine.ready.context_length == 100
        assert 80 <= upstream.asked[0].body["max_tokens"] < 100

    @pytest.mark.parametrize("listing", [refusing(404), refusing(200, b"<html>"), refusing(403)])
    async def test_servers_without_a_list_of_models_are_asked_anyway(
        self, upstream: UpstreamServer, engine: RemoteEngine, listing: Any
    ) -> None:
        upstream.listing = listing
        assert await said(engine) == "Bonjour"

    async def test_it_is_asked_once_what_it_is(self, upstream: UpstreamServer, engine: RemoteEngine) -> None:
        assert engine.state == "stopped"
        await asyncio.gather(*(said(engine) for _ in range(5)))
        assert upstream.looked == 1
        assert engine.state == "ready"
        assert engine.load_progress == 1


class TestRefusals:
    async def test_what_is_wrong_with_a_request_is_said_in_the_words_of_the_server(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        said = {"message": "too long", "param": "messages", "code": "context_length_exceeded"}
        upstream.does(refusing(400, {"error": said}))
        error = await refusal(engine)
        assert isinstance(error, InvalidRequest)
        assert "too long" in error.message
        assert (error.parameter, error.code) == ("messages", "context_length_exceeded")

    @pytest.mark.parametrize("status", [401, 403])
    async def test_where_the_key_is_refused_the_operator_is_called(
        self, upstream: UpstreamServer, engine: RemoteEngine, status: int
    ) -> None:
        upstream.does(refusing(status, {"error": {"message": f"bad key {KEY}"}}))
        error = await refusal(engine)
        assert isinstance(error, UpstreamUnavailable)
        assert "operator" in error.message
        assert len(upstream.asked) == 1

    async def test_who_is_sent_away_by_the_server_is_told_when_to_come_back(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.does(refusing(429, retry_after="17"))
        error = await refusal(engine)
        assert isinstance(error, Overloaded)
        assert error.retry_after == 17
        assert len(upstream.asked) == 1

    async def test_an_unknown_model_is_for_the_operator_too(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.does(refusing(404))
        error = await refusal(engine)
        assert isinstance(error, UpstreamFailed)
        assert "operator" in error.message

    async def test_a_key_that_cannot_be_read_is_told_without_its_text(
        self, upstream: UpstreamServer, engine: RemoteEngine, key_file: Path
    ) -> None:
        await said(engine)
        write(key_file, "two words")
        error = await refusal(engine)
        assert "operator" in error.message
        assert "two words" not in error.message
        write(key_file, KEY)
        assert await said(engine) == "Bonjour"


class TestTrouble:
    @pytest.mark.parametrize("trouble", [hang_up, refusing(502), answering(), refusing(503, retry_after="1")])
    async def test_before_the_first_token_it_is_tried_once_more(
        self, upstream: UpstreamServer, engine: RemoteEngine, trouble: Any
    ) -> None:
        upstream.does(trouble, answering(*text("Bonjour"), *end()))
        assert await said(engine) == "Bonjour"
        assert len(upstream.asked) == 2

    async def test_twice_is_all(self, upstream: UpstreamServer, engine: RemoteEngine) -> None:
        upstream.does(refusing(500))
        assert isinstance(await refusal(engine), UpstreamUnavailable)
        assert len(upstream.asked) == 2

    async def test_a_server_that_wants_to_be_left_alone_is(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.does(refusing(503, retry_after="60"))
        assert (await refusal(engine)).retry_after == 60
        assert len(upstream.asked) == 1

    @pytest.mark.parametrize("how", ["cut", "end", "error"])
    async def test_an_answer_that_breaks_off_is_told_and_not_begun_again(
        self, upstream: UpstreamServer, engine: RemoteEngine, how: str
    ) -> None:
        async def script(asked: Asked) -> None:
            await asked.stream(*text("Bon"))
            await read.wait()
            if how == "cut":
                asked.writer.transport.abort()
            elif how == "error":
                await asked.event({"error": {"message": f"secret {KEY}"}})

        read = asyncio.Event()
        upstream.does(script)
        events = aiter(await engine.submit(HELLO))
        first = await anext(events)
        assert isinstance(first, Delta)
        assert first.text == "Bon"
        read.set()
        with pytest.raises(UpstreamUnavailable) as caught:
            await anext(events)
        assert KEY not in caught.value.message
        assert len(upstream.asked) == 1

    @pytest.mark.parametrize(
        "event",
        [
            "{",
            "[]",
            '{"choices": [7]}',
            '{"choices": [{"delta": {"content": 7}}]}',
            '{"choices": [{"delta": {"tool_calls": [{}]}}]}',
            '{"choices": [{"delta": {}, "logprobs": {"content": [{}]}}]}',
            "[" * 100_000,
        ],
    )
    async def test_nonsense_is_called_so(
        self, upstream: UpstreamServer, engine: RemoteEngine, event: str
    ) -> None:
        upstream.does(answering(event, *end()))
        error = await refusal(engine)
        assert isinstance(error, UpstreamFailed)
        assert "nonsense" in error.message

    async def test_a_page_instead_of_a_stream_is_nonsense(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.does(refusing(200, b"<html>It works!</html>"))
        assert "does not stream" in (await refusal(engine)).message

    async def test_bytes_that_come_one_by_one_are_an_answer_too(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        async def script(asked: Asked) -> None:
            await asked.stream()
            whole = "".join(f": comment\r\ndata: {json.dumps(one)}\r\n\r\n" for one in text("né", "e"))
            for byte in whole.encode():
                await asked.write(bytes([byte]))
            for event in end():
                await asked.event(event)

        upstream.does(script)
        assert await said(engine) == "née"

    async def test_a_server_that_falls_silent_is_given_up(
        self, upstream: UpstreamServer, key_file: Path
    ) -> None:
        engine = RemoteEngine("ours", Upstream(upstream.url, MODEL, key_file, timeout=0.3))
        upstream.does(Asked.until_left)
        error = await refusal(engine)
        assert isinstance(error, DeadlineExceeded)
        assert error.code == "upstream_timeout"
        await engine.close()

    async def test_a_caller_waits_no_longer_than_they_said(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        upstream.does(Asked.until_left)
        error = await refusal(engine, Submit(id=0, messages=HELLO.messages, timeout=0.3))
        assert isinstance(error, DeadlineExceeded)
        assert error.code == "deadline_exceeded"

    async def test_who_leaves_hangs_up_on_the_server(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        left = asyncio.Event()

        async def script(asked: Asked) -> None:
            await asked.stream(*text("Bon"))
            await asked.until_left()
            left.set()

        upstream.does(script)
        answer = await engine.submit(HELLO)
        await anext(aiter(answer))
        assert engine.stats.running == 1
        answer.cancel()
        await asyncio.wait_for(left.wait(), 30)

    async def test_who_leaves_before_it_is_accepted_hangs_up_too(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        left = asyncio.Event()

        async def script(asked: Asked) -> None:
            await asked.until_left()
            left.set()

        upstream.does(script)
        waiting = asyncio.create_task(engine.submit(HELLO))
        await upstream.arrived.wait()
        waiting.cancel()
        await asyncio.wait_for(left.wait(), 30)

    async def test_closing_ends_what_runs(self, upstream: UpstreamServer, engine: RemoteEngine) -> None:
        async def script(asked: Asked) -> None:
            await asked.stream(*text("Bon"))
            await asked.until_left()

        upstream.does(script)
        events = aiter(await engine.submit(HELLO))
        await anext(events)
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await anext(events)
        with pytest.raises(EngineUnavailable):
            await engine.submit(HELLO)


class TestParking:
    async def test_a_server_that_fails_again_and_again_is_left_alone_until_it_is_back(
        self, upstream: UpstreamServer, engine: RemoteEngine
    ) -> None:
        await said(engine)
        upstream.asked.clear()
        upstream.does(hang_up)
        upstream.listing = hang_up
        while engine.state == "ready":
            await refusal(engine)
        assert engine.state == "parked"
        assert len(upstream.asked) == FAILURES
        error = await refusal(engine)
        assert isinstance(error, EngineUnavailable)
        assert error.code == "model_parked"
        assert error.retry_after is not None
        assert error.retry_after >= 1
        assert len(upstream.asked) == FAILURES

        upstream.listing = None
        upstream.does(answering(*text("back"), *end()))
        while engine.state != "ready":  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
        assert await said(engine) == "back"

    async def test_refusals_park_nothing(self, upstream: UpstreamServer, engine: RemoteEngine) -> None:
        for status in (400, 401, 429):
            upstream.does(refusing(status))
            for _ in range(FAILURES + 1):
                await refusal(engine)
        assert engine.state == "ready"

    async def test_a_server_that_is_away_from_the_start_is_told_and_found_later(self, key_file: Path) -> None:
        async with upstream_server() as gone:
            url = gone.url
        engine = RemoteEngine("ours", Upstream(url, MODEL, key_file))
        assert isinstance(await refusal(engine), UpstreamUnavailable)
        assert engine.state == "stopped"
        assert engine.ready is None
        await engine.close()


class TestChangingModels:
    async def test_a_model_that_changes_keeps_its_engine_and_what_runs_ends_as_it_began(
        self, upstream: UpstreamServer, key_file: Path
    ) -> None:
        go_on = asyncio.Event()

        async def slow(asked: Asked) -> None:
            await asked.stream(*text("old "))
            await go_on.wait()
            for event in (*text("server"), *end()):
                await asked.event(event)

        upstream.does(slow)
        models = RemoteModels()
        engine = models.put("ours", Upstream(upstream.url, MODEL, key_file))
        running = await engine.submit(HELLO)
        async with upstream_server() as other:
            other.does(answering(*text("new"), *end()))
            assert models.put("ours", Upstream(other.url, MODEL, key_file)) is engine
            assert await said(engine) == "new"
            models.remove("ours")
            assert not models.engines
            go_on.set()
            words = [event.text async for event in running]
            assert "".join(words) == "old server"
        await models.close()


class TestOurOwnServerBehind:
    @pytest.fixture
    async def behind(self) -> AsyncIterator[Server]:
        async with running_server(FakeEngine()) as server:
            yield server

    @pytest.fixture
    async def engine(self, behind: Server, key_file: Path) -> AsyncIterator[RemoteEngine]:
        write(key_file, str(OWN_KEY))
        url = f"http://127.0.0.1:{behind.port}/v1"
        engine = RemoteEngine("ours", Upstream(url, "fake-model", key_file, timeout=30.0))
        yield engine
        await engine.close()

    async def test_vectors(self, behind: Server, engine: RemoteEngine) -> None:
        behind.engine.script = lambda answer: answer.embed([0.6, 0.8], [1.0, 0.0])
        _, finished = await answer(engine, Submit(id=0, inputs=["a", "b"]))
        assert array("f", finished.vectors).tolist() == pytest.approx([0.6, 0.8, 1.0, 0.0])
        assert finished.prompt_tokens == 7

    async def test_thoughts_and_calls(self, behind: Server, engine: RemoteEngine) -> None:
        behind.engine.script = lambda answer: (
            answer.think("Hmm.").say("Bon").call(0, "f", '{"a"', ": 1}").finish("tool_calls")
        )
        deltas, finished = await answer(engine, ask(chat=ChatOptions(tools=[Tool("f")])))
        assert "".join(delta.reasoning for delta in deltas) == "Hmm."
        assert "".join(delta.text for delta in deltas) == "Bon"
        pieces = [piece for delta in deltas for piece in delta.calls]
        assert pieces[0].name == "f"
        assert "".join(piece.arguments for piece in pieces) == '{"a": 1}'
        assert (finished.reason, finished.reasoning_tokens, finished.cached_prompt_tokens) == (
            "tool_calls",
            1,
            2,
        )

    async def test_its_full_house_is_ours(self, behind: Server, engine: RemoteEngine) -> None:
        behind.engine.refusal = Overloaded("no", retry_after=9.0)
        error = await refusal(engine)
        assert isinstance(error, Overloaded)
        assert error.retry_after == 9

    async def test_an_answer_that_breaks_off_there_breaks_off_here(
        self, behind: Server, engine: RemoteEngine
    ) -> None:
        behind.engine.script = lambda answer: answer.say("Bon").fail(EngineUnavailable("gone", retry_after=1))
        error = await refusal(engine)
        assert isinstance(error, UpstreamUnavailable)
        assert error.code == "upstream_broke_off"
