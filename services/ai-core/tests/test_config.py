"""Settings that are refused, in words."""

from __future__ import annotations

import pytest

from ai_core.config import Settings
from servicekit.settings import SettingsError


def refusal(**environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ)
    return str(caught.value)


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "https://a.example/",
        "https://a.example/page",
        "a.example",
        "ftp://a.example",
        "https://u@a.example",
    ],
)
def test_what_is_no_origin_of_a_web_page_is_refused(origins: str) -> None:
    sentence = refusal(CORS_ORIGINS=f"https://fine.example,{origins}")
    assert sentence.startswith("CORS_ORIGINS: ")


def test_origins_stand_in_one_line() -> None:
    settings = Settings.load({"CORS_ORIGINS": "https://App.example.org, http://localhost:3000"})
    assert settings.cors_origins == ("https://app.example.org", "http://localhost:3000")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9000",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
    ],
)
def test_what_is_no_address_of_a_server_is_refused_without_repeating_it(url: str) -> None:
    sentence = refusal(TRANSCRIPTION_URL=url)
    assert sentence.startswith("TRANSCRIPTION_URL: ")
    assert "secret" not in sentence


def test_an_address_may_end_with_a_slash() -> None:
    assert (
        Settings.load({"TRANSCRIPTION_URL": "http://host:9000/v1/"}).transcription_url
        == "http://host:9000/v1"
    )
