"""What a remote server's answers mean to our callers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.errors import InvalidRequest, NeoError, Overloaded, UpstreamFailed, UpstreamUnavailable
from ai_core.transcription.upstream_answers import error_of, transcript_of


def error(status: int, content: bytes = b"", **headers: str) -> NeoError:
    return error_of(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_is_wrong_with_the_recording_is_told(status: int) -> None:
    body = json.dumps({"error": {"message": "Unsupported file format", "param": "file"}}).encode()
    refused = error(status, body)
    assert isinstance(refused, InvalidRequest)
    assert (refused.code, refused.parameter) == ("upstream_refused", "file")
    assert "Unsupported file format" in refused.message


def test_a_parameter_that_the_server_names_is_passed_on_and_another_word_is_not() -> None:
    assert error(400, b'{"error": {"param": "language"}}').parameter == "language"
    assert error(400, b'{"error": {"param": "api_key=secret"}}').parameter == "file"


@pytest.mark.parametrize("status", [401, 403, 404, 302, 418])
def test_what_is_wrong_between_the_servers_is_not_the_callers_fault(status: int) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-secret"}}'
    failed = error(status, body)
    assert isinstance(failed, UpstreamFailed)
    assert "secret" not in failed.message


def test_a_busy_server_says_when_to_come_back() -> None:
    busy = error(429, retry_after="17")
    assert isinstance(busy, Overloaded)
    assert busy.retry_after == 17
    assert error(429).retry_after == 5
    assert error(429, retry_after="99999999").retry_after == 300
    assert error(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after == 5


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_broken_server_is_unavailable(status: int) -> None:
    unavailable = error(status)
    assert isinstance(unavailable, UpstreamUnavailable)
    assert unavailable.retry_after is not None


@given(st.integers(201, 599), st.binary(max_size=200))
def test_whatever_comes_is_one_of_our_errors_with_words(status: int, content: bytes) -> None:
    refused = error(status, content)
    assert isinstance(refused, InvalidRequest | Overloaded | UpstreamFailed | UpstreamUnavailable)
    assert refused.message.startswith("The transcription server")


def test_transcripts_come_as_they_are() -> None:
    content = '{"text": "Préavis", "segments": []}'.encode()
    assert transcript_of(content, "verbose_json").content == content
    assert transcript_of(content, "json").media_type == "application/json"
    assert transcript_of("Préavis".encode(), "srt").media_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"", "json"),
        (b"<html>", "json"),
        (b"[]", "json"),
        (b'{"text": 1}', "verbose_json"),
        (b"\xff", "text"),
    ],
)
def test_what_is_no_transcript_is_not_passed_on(content: bytes, format: Any) -> None:
    with pytest.raises(UpstreamFailed):
        transcript_of(content, format)
