"""The channels' client against the AI core itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from ai_core_service import Server, running, wait_until
from servicekit.ai_core.client import AiCore, key_in
from servicekit.ai_core.errors import (
    AiCoreError,
    Busy,
    Failed,
    ModelMissing,
    NotAllowed,
    Refused,
    Unreachable,
)
from servicekit.ai_core.requests import (
    Answer,
    ChatRequest,
    Delta,
    EarlierMail,
    EmailContext,
    GenerateRequest,
    Message,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(
        ENGINE_BACKEND="scripted", MODEL_NAME="scripted", MAX_SEQUENCES="2", MAX_QUEUED_REQUESTS="4"
    ) as started:
        yield started


def question(text: str, **options: object) -> ChatRequest:
    return ChatRequest(messages=[Message("user", text)], **options)  # type: ignore[arg-type]


async def collect(server: Server, request: ChatRequest, key: str | None = None) -> tuple[str, Answer]:
    said: list[str] = []
    async with AiCore(server.url, key or server.key) as ai_core:
        async for item in ai_core.chat(request):
            if isinstance(item, Answer):
                return "".join(said), item
            said.append(item.text)
    raise AssertionError("no answer came")


async def refused(server: Server, request: ChatRequest, key: str | None = None) -> AiCoreError:
    with pytest.raises(AiCoreError) as caught:
        await collect(server, request, key)
    return caught.value


async def test_an_answer_comes_in_pieces_and_then_whole(server: Server) -> None:
    said, answer = await collect(server, question("Bonjour à tous, 👋 !", user="pseudonym"))
    assert said == answer.response == "Bonjour à tous, 👋 !"
    assert (answer.model, answer.finish_reason) == ("scripted", "stop")
    assert answer.usage.completion_tokens > 0


async def test_the_models_are_listed_with_the_default(server: Server) -> None:
    async with AiCore(server.url, server.key) as ai_core:
        models = await ai_core.models()
        assert [(model.name, model.default) for model in models] == [("scripted", True)]
        assert await ai_core.ping() > 0


async def test_each_failure_says_what_can_be_done_about_it(server: Server) -> None:
    assert isinstance(await refused(server, question("x", model="other")), ModelMissing)
    assert isinstance(await refused(server, question("x"), key="neo_wrong_key"), NotAllowed)
    assert isinstance(await refused(server, question("[[fail]]")), Failed)
    too_long = await refused(server, question("x" * 20_000))
    assert isinstance(too_long, Refused)
    assert too_long.code == "context_length_exceeded"
    assert "Bonjour" not in str(await refused(server, question("Bonjour", max_tokens=-1)))


async def test_who_is_told_to_wait_is_told_how_long() -> None:
    settings = {"ENGINE_BACKEND": "scripted", "MAX_SEQUENCES": "2", "MAX_QUEUED_REQUESTS": "4"}
    with running(**settings) as server:
        async with AiCore(server.url, server.key) as ai_core:
            errors = await asyncio.gather(*(_try(ai_core, number) for number in range(20)))
    busy = [error for error in errors if error is not None]
    assert busy
    assert all(isinstance(error, Busy) and (error.retry_after or 0) >= 1 for error in busy)
    assert None in errors


async def _try(ai_core: AiCore, number: int) -> AiCoreError | None:
    try:
        async for _ in ai_core.chat(question(f"[[slow 10]] [[20]] {number}")):
            pass
    except AiCoreError as error:
        return error
    return None


async def test_a_key_that_is_still_to_be_made_is_waited_for(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "local.key"
    async with AiCore(server.url, key_in(path)) as ai_core:
        with pytest.raises(Unreachable):
            await ai_core.models()
        path.write_text(f"{server.key}\n")
        assert await ai_core.models()


async def test_who_leaves_stops_the_generation(server: Server) -> None:
    async with (
        AiCore(server.url, server.key) as ai_core,
        aclosing(ai_core.chat(question("[[slow 20]] [[5000]]", max_tokens=5000))) as answer,
    ):
        assert isinstance(await anext(answer), Delta)
    await asyncio.to_thread(wait_until, lambda: server.metric("neo_requests_running") == 0, "it stopped")


async def test_an_answer_that_breaks_off_is_an_error(server: Server) -> None:
    error = await refused(server, question("[[after 5]] [[crash]] [[60]]"))
    assert isinstance(error, Failed | Busy)


async def test_a_server_that_hangs_or_is_gone_is_unreachable() -> None:
    with running(ENGINE_BACKEND="scripted", MODEL_NAME="scripted") as server:
        async with AiCore(server.url, server.key, silent_seconds=0.5) as ai_core:
            server.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(Unreachable):
                    await anext(ai_core.chat(question("x")))
            finally:
                server.process.send_signal(signal.SIGCONT)
            url = server.url
    async with AiCore(url, "neo_a_b") as ai_core:
        with pytest.raises(Unreachable):
            await ai_core.models()


async def test_a_mail_is_answered_whole_and_gets_a_subject(server: Server) -> None:
    mail = EmailContext(
        sender="Anne <anne@example.org>",
        thread_id="7",
        previous_messages=[EarlierMail("Bonjour", "Anne")],
        language="fr",
    )
    request = GenerateRequest(
        prompt="Combien de congés ?", system="Réponds.", email_context=mail, max_tokens=900
    )
    async with AiCore(server.url, server.key) as ai_core:
        answer = await ai_core.generate(request)
        assert "Combien de congés" in answer.response
        assert answer.suggested_subject == "Combien de congés ?"
        with pytest.raises(ModelMissing):
            await ai_core.generate(GenerateRequest(prompt="x", model="other"))


async def test_a_core_without_a_speech_model_says_so(server: Server) -> None:
    async with AiCore(server.url, server.key) as ai_core:
        with pytest.raises(ModelMissing):
            await ai_core.transcribe(b"OggS")
    async with AiCore("http://127.0.0.1:9", "neo_a_b") as nowhere:
        with pytest.raises(Unreachable):
            await nowhere.transcribe(b"OggS")
