"""Speech to text: OpenAI's form in, a strict server behind."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import structlog
from starlette.responses import JSONResponse, Response

from access_keys import KEY
from ai_core.transcription.remote import Upstream, open_remote_transcriber
from edge_server import FakeEngine, Server, error_of, running_server
from transcription_upstream import KEY as UPSTREAM_KEY
from transcription_upstream import MODEL, TEXT, UpstreamServer, upstream_server

PATH = "/v1/audio/transcriptions"
README = Path(__file__).parents[2] / "README.md"
AUDIO = b"RIFF" + bytes(range(256)) * 40
MAX_AUDIO = 3_000_000


@pytest.fixture
async def upstream() -> AsyncIterator[UpstreamServer]:
    async with upstream_server() as server:
        yield server


@pytest.fixture
async def server(upstream: UpstreamServer) -> AsyncIterator[Server]:
    target = Upstream(upstream.url, api_key=UPSTREAM_KEY, model=MODEL, timeout=20)
    async with (
        open_remote_transcriber(target) as transcriber,
        running_server(FakeEngine(), transcriber=transcriber, max_audio_bytes=MAX_AUDIO) as server,
    ):
        yield server


async def transcribe(
    server: Server, audio: bytes = AUDIO, name: str = "a.wav", **fields: Any
) -> httpx.Response:
    data = {"model": "whisper-1"} | fields
    return await server.client.post(PATH, data=data, files={"file": (name, audio, "audio/wav")})


async def test_a_recording_comes_back_as_text(server: Server, upstream: UpstreamServer) -> None:
    response = await transcribe(server)
    assert response.status_code == 200
    assert response.json() == {"text": TEXT}
    assert upstream.audio == [AUDIO]
    assert upstream.forms == [{"model": [MODEL], "response_format": ["json"]}]


async def test_every_field_is_passed_on(server: Server, upstream: UpstreamServer) -> None:
    fields: dict[str, Any] = {
        "language": "fr",
        "prompt": "préavis, Légifrance",
        "response_format": "verbose_json",
        "temperature": "0.2",
        "timestamp_granularities[]": ["word", "segment"],
    }
    response = await transcribe(server, **fields)
    assert response.json()["language"] == "french"
    assert upstream.forms == [
        {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
        | {"model": [MODEL]}
    ]


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
async def test_formats_that_are_no_json(server: Server, format: str) -> None:
    response = await transcribe(server, response_format=format)
    assert TEXT in response.text
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


async def test_openais_package_gets_what_it_asks_for(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=str(KEY), max_retries=0, timeout=20) as client:
        file = ("question.mp3", io.BytesIO(AUDIO))
        answer = await client.audio.transcriptions.create(model="whisper-1", file=file, language="fr")
        assert answer.text == TEXT
        verbose = await client.audio.transcriptions.create(
            model=MODEL,
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
        assert verbose.duration == 3.2
        with pytest.raises(openai.BadRequestError) as caught:
            await client.audio.transcriptions.create(model=MODEL, file=("empty.mp3", b""))
        assert caught.value.param == "file"


async def test_the_callers_file_name_stays_here(server: Server, upstream: UpstreamServer) -> None:
    await transcribe(server, name="Claire Dupont, licenciement.MP3")
    await transcribe(server, name="no-suffix")
    assert upstream.names == ["audio.mp3", "audio"]


async def test_a_recording_larger_than_memory_wants_is_passed_on_whole(
    server: Server, upstream: UpstreamServer
) -> None:
    audio = bytes(range(256)) * (MAX_AUDIO // 256)
    assert (await transcribe(server, audio)).status_code == 200
    assert upstream.audio == [audio]


async def test_a_recording_that_is_too_large_is_refused(server: Server, upstream: UpstreamServer) -> None:
    response = await transcribe(server, bytes(MAX_AUDIO + 1))
    assert (response.status_code, error_of(response)["param"]) == (413, "file")
    response = await transcribe(server, bytes(MAX_AUDIO + 2_000_000))
    assert (response.status_code, error_of(response)["code"]) == (413, "body_too_large")
    assert not upstream.arrived.is_set()


async def test_a_form_that_does_not_tell_its_size_is_bounded_too(
    server: Server, upstream: UpstreamServer
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        for _ in range(MAX_AUDIO // 100_000 + 20):
            yield bytes(100_000)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = await server.client.post(PATH, content=pieces(), headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (413, "body_too_large")
    assert not upstream.arrived.is_set()


async def test_other_routes_keep_their_smaller_limit(server: Server) -> None:
    response = await server.raw(b'{"prompt": "' + b"x" * 200_000 + b'"}')
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "French"}, "language"),
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"response_format": "xml"}, "response_format"),
        ({"response_format": "json", "timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
        (
            {"response_format": "verbose_json", "timestamp_granularities[]": "page"},
            "timestamp_granularities[][0]",
        ),
        ({"prompt": "x" * 5_000}, "prompt"),
        ({"stream": "true"}, "stream"),
        ({"chunking_strategy": "auto"}, "chunking_strategy"),
        ({"language": ["fr", "en"]}, "language"),
        ({"model": ""}, "model"),
    ],
)
async def test_a_bad_field_is_named(
    server: Server, upstream: UpstreamServer, fields: dict[str, Any], param: str
) -> None:
    response = await transcribe(server, **fields)
    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert not upstream.arrived.is_set()


async def test_another_model_is_not_found(server: Server) -> None:
    response = await transcribe(server, model="whisper-9")
    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")


async def test_without_a_file_there_is_nothing_to_do(server: Server) -> None:
    response = await server.client.post(PATH, data={"model": MODEL}, files={"image": b"x"})
    assert response.status_code == 400
    response = await server.client.post(PATH, files={"model": (None, MODEL)})
    assert (response.status_code, error_of(response)["param"]) == (400, "file")
    response = await server.client.post(PATH, files={"file": (None, "text, no file")})
    assert (response.status_code, error_of(response)["param"]) == (400, "file")


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("", b"x", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"no form at all", 400),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="f', 400),
    ],
)
async def test_what_is_no_form_is_refused(
    server: Server, content_type: str, content: bytes, status: int
) -> None:
    headers = {"content-type": content_type}
    response = await server.client.post(PATH, content=content, headers=headers)
    assert response.status_code == status
    assert error_of(response)["message"]


async def test_what_the_upstream_cannot_use_is_a_bad_request(
    server: Server, upstream: UpstreamServer
) -> None:
    upstream.answer = lambda: _answer({"error": {"message": "Audio is too short."}}, 400)
    response = await transcribe(server)
    assert response.status_code == 400
    assert error_of(response)["message"].endswith("Audio is too short.")


@pytest.mark.parametrize(("status", "ours"), [(401, 502), (404, 502), (429, 429), (500, 503), (307, 502)])
async def test_what_the_upstream_gets_wrong_is_no_mistake_of_ours(
    server: Server, upstream: UpstreamServer, status: int, ours: int
) -> None:
    upstream.answer = lambda: _answer({"error": {"message": f"about {UPSTREAM_KEY}"}}, status)
    response = await transcribe(server)
    assert response.status_code == ours
    assert UPSTREAM_KEY not in response.text


async def test_nonsense_from_the_upstream_is_not_passed_on(server: Server, upstream: UpstreamServer) -> None:
    upstream.answer = lambda: _answer(["not", "a", "transcript"])
    assert (await transcribe(server)).status_code == 502


async def test_an_upstream_that_is_away(server: Server) -> None:
    async with upstream_server() as gone:
        url = gone.url
    async with (
        open_remote_transcriber(Upstream(url, model=MODEL)) as transcriber,
        running_server(FakeEngine(), transcriber=transcriber) as other,
    ):
        response = await transcribe(other)
        assert (response.status_code, error_of(response)["code"]) == (503, "upstream_unavailable")
        assert "retry-after" in response.headers


async def test_an_upstream_that_does_not_answer(upstream: UpstreamServer) -> None:
    upstream.answer = _never
    target = Upstream(upstream.url, api_key=UPSTREAM_KEY, model=MODEL, timeout=0.2)
    async with (
        open_remote_transcriber(target) as transcriber,
        running_server(FakeEngine(), transcriber=transcriber) as server,
    ):
        response = await transcribe(server)
        assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")


async def test_who_leaves_lets_go_of_the_upstream(server: Server, upstream: UpstreamServer) -> None:
    upstream.answer = _never
    call = asyncio.create_task(transcribe(server))
    await upstream.arrived.wait()
    call.cancel()
    await server.until_idle()


async def test_callers_name_the_upstreams_models_where_the_operator_names_none(
    upstream: UpstreamServer,
) -> None:
    async with (
        open_remote_transcriber(Upstream(upstream.url, api_key=UPSTREAM_KEY)) as transcriber,
        running_server(FakeEngine(), transcriber=transcriber) as server,
    ):
        with structlog.testing.capture_logs() as lines:
            assert (await transcribe(server, model=MODEL)).status_code == 200
            used = (await server.client.get("/api/v1/usage")).json()["days"]
        assert upstream.forms[0]["model"] == [MODEL]
        # It is the caller's text, so neither the table of usage nor the log repeats it.
        assert [day["model"] for day in used] == ["transcription"]
        assert [line["model"] for line in lines if "model" in line] == ["transcription"]
        response = await server.client.post(PATH, files={"file": ("a.wav", AUDIO)})
        assert (response.status_code, error_of(response)["param"]) == (400, "model")


async def test_without_a_server_for_it_the_route_says_so() -> None:
    async with running_server(FakeEngine()) as server:
        response = await transcribe(server, bytes(500_000))
        assert (response.status_code, error_of(response)["code"]) == (501, "not_configured")
        assert "TRANSCRIPTION_URL" in error_of(response)["message"]


async def test_nobody_transcribes_without_a_key(server: Server, upstream: UpstreamServer) -> None:
    response = await server.anonymous.post(PATH, data={"model": MODEL}, files={"file": AUDIO})
    assert response.status_code == 401
    assert not upstream.arrived.is_set()


async def _never() -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def _answer(body: Any, status: int = 200) -> Response:
    return JSONResponse(json.loads(json.dumps(body)), status)


async def test_nothing_of_a_recording_is_in_the_log(server: Server, upstream: UpstreamServer) -> None:
    upstream.answer = lambda: _answer({"text": "planted-transcript"})
    with structlog.testing.capture_logs() as lines:
        await transcribe(server, name="planted-name.wav", prompt="planted-prompt", language="fr")
        upstream.answer = lambda: _answer({"error": {"message": "planted-reason"}}, 400)
        await transcribe(server)
    assert [line["status"] for line in lines] == [200, 400]
    assert (lines[0]["model"], lines[0]["audio_bytes"]) == (MODEL, len(AUDIO))
    assert "planted" not in str(lines)
    assert UPSTREAM_KEY not in str(lines)


async def test_the_readmes_command_is_answered(
    server: Server, upstream: UpstreamServer, tmp_path: Path
) -> None:
    blocks = re.findall(r"```shell\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (command,) = [block for block in blocks if "/audio/" in block]
    address = f"http://127.0.0.1:{server.port}"
    (tmp_path / "question.mp3").write_bytes(AUDIO)
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        command.replace("curl ", "curl -sS ").replace("http://127.0.0.1:8000", address),
        cwd=tmp_path,
        env=os.environ | {"NEO_API_KEY": str(KEY)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert json.loads(output) == {"text": TEXT}
    assert upstream.audio == [AUDIO]
