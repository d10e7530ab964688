"""The ``ai-core`` command: what it says at start and how it ends."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ai_core.__main__ import command
from ai_core.catalog.models import Catalog, HubSource, ModelEntry, UpstreamEntry
from ai_core.cli.serve import welcome
from ai_core.cli.terminal import local_url
from ai_core.config import Settings


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("MODEL_PATH", "MODEL_NAME", "DEFAULT_MODEL", "MODEL_CONFIG_PATH", "API_PORT", "API_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What `ai-core serve` says when it refuses to start: one sentence, no traceback."""
    assert command(["serve"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("ai-core: ")
    assert output.err.count("\n") == 1
    return output.err


def test_without_a_model_it_says_what_to_set(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = complaint(capsys)
    assert "MODEL_PATH" in sentence
    assert "config/models.json" in sentence


def test_several_workers_are_refused_with_the_reason(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_WORKERS", "4")
    sentence = complaint(capsys)
    assert "API_WORKERS" in sentence
    assert "replicas" in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "70000"),
        ("MAX_SEQUENCES", "0"),
        ("DRAIN_TIMEOUT", "nan"),
        ("LOG_FORMAT", "xml"),
        ("DEBUG", "x"),
    ],
)
def test_a_bad_value_is_named(
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    assert name in complaint(capsys)


def test_settings_come_from_the_env_file_too(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / ".env").write_text("MODEL_PATH=gone.gguf\n")
    assert "gone.gguf does not exist" in complaint(capsys)


def test_a_port_in_use_is_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "model.gguf").write_bytes(b"GGUF")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MODEL_PATH", "model.gguf")
        monkeypatch.setenv("API_PORT", str(taken.getsockname()[1]))
        sentence = complaint(capsys)
    assert "in use" in sentence
    assert "API_PORT" in sentence


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    (elsewhere / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("MODEL_PATH", "model.gguf")
    monkeypatch.setenv("API_HOST", host)
    assert "API_HOST" in complaint(capsys)


def test_the_welcome_says_what_is_off_and_how_to_switch_it_on() -> None:
    catalog = Catalog([ModelEntry("m", Path("m.gguf"))])
    text = welcome(Settings.load({}), catalog, "127.0.0.1", 8000)
    assert re.search(r"off +speech to text +\(set TRANSCRIPTION_URL\)", text)
    text = welcome(Settings.load({"TRANSCRIPTION_URL": "http://host:9/v1"}), catalog, "127.0.0.1", 8000)
    assert re.search(r"on +speech to text +http://host:9/v1", text)


def test_the_welcome_says_which_models_have_no_files_yet(tmp_path: Path) -> None:
    (tmp_path / "here.gguf").touch()
    hub = HubSource("owner/name")
    catalog = Catalog(
        [
            ModelEntry("here", tmp_path / "here.gguf"),
            ModelEntry("hub", tmp_path / "hub", hub=hub),
            ModelEntry("gone", tmp_path / "gone.gguf"),
            ModelEntry("far", Path(), type="remote", upstream=UpstreamEntry("http://10.0.0.2/v1")),
        ]
    )
    text = welcome(Settings.load({}), catalog, "127.0.0.1", 8000)
    assert "on   model              here  (default)\n" in text
    assert "off  model              hub  (not fetched: ai-core models pull hub)" in text
    assert f"off  model              gone  (not fetched: put its files at {tmp_path}/gone.gguf)" in text
    assert "on   model              far\n" in text


def test_the_welcome_has_a_first_request_that_fits() -> None:
    catalog = Catalog([ModelEntry("neo-demo", Path("x")), ModelEntry("other", Path("y"))])
    text = welcome(Settings.load({}), catalog, "127.0.0.1", 8000)
    assert "curl http://127.0.0.1:8000/api/v1/chat" in text
    assert "neo-demo  (default)" in text
    assert "this machine only, with keys" in text


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")])  # noqa: S104
def test_the_welcome_says_when_others_can_reach_it(host: str, url: str) -> None:
    text = welcome(Settings.load({}), Catalog([ModelEntry("m", Path("x"))]), host, 80)
    assert f"curl {url}/api/v1/chat" in text
    assert "open to the network, with keys" in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),  # noqa: S104
        ("::", "http://[::1]:9000"),
        ("localhost", "http://localhost:9000"),
    ],
)
def test_a_server_is_reached_from_its_own_machine(host: str, url: str) -> None:
    assert local_url(host, 9000) == url


def test_chat_goes_where_the_server_of_the_same_settings_listens(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    (elsewhere / ".env").write_text(f"API_PORT={port}\n")
    assert command(["chat"]) == 1
    assert f"http://127.0.0.1:{port}" in capsys.readouterr().err


def test_the_api_process_loads_no_inference_library() -> None:
    program = (
        "import sys, ai_core.__main__; print(sorted({'llama_cpp', 'torch', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
