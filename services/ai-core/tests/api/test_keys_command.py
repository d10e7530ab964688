"""`ai-core keys`, and the keys that `ai-core serve` makes or asks for."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ai_core.__main__ import command
from ai_core.access.keys import parse_key
from ai_core.cli.chat import key_from

SHAPE = re.compile(r"neo_[a-z0-9]+_[A-Za-z0-9]+")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with the database in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "RATE_LIMIT_PER_MINUTE", "API_HOST", "API_PORT", "LOCAL_KEY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def keys(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert command(["keys", *arguments]) == 0
    return capsys.readouterr().out


def row(capsys: pytest.CaptureFixture[str], key: str) -> str:
    (line,) = [line for line in keys(capsys, "list").splitlines() if line.startswith(key.split("_")[1])]
    return line


def test_the_created_key_alone_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    output = keys(capsys, "create", "--name", "a program")
    assert output.endswith("\n")
    key = output.removesuffix("\n")
    assert parse_key(key)
    line = row(capsys, key)
    assert "a program" in line
    assert "active" in line
    assert "generate embeddings models:read" in line
    assert " 60 " in line
    listed = keys(capsys, "list")
    assert key not in listed
    assert key.rpartition("_")[2] not in listed


def test_all_options_reach_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    key = keys(
        capsys,
        *("create", "--name", "x [bold]", "--scope", "metrics", "--scope", "admin", "--model", "one"),
        *("--model", "two", "--default-model", "two", "--network", "10.1.2.3/8", "--priority", "high"),
        *("--requests-per-minute", "7", "--tokens-per-minute", "8", "--tokens-per-day", "9"),
        *("--concurrent-requests", "2", "--expires-in-days", "3", "--fair-by-user"),
    ).strip()
    line = row(capsys, key)
    for word in ("x [bold]", "admin metrics", "one two", "10.0.0.0/8", " 7 "):
        assert word in line


def test_the_key_of_a_channel_has_no_limit_per_minute(capsys: pytest.CaptureFixture[str]) -> None:
    line = row(capsys, keys(capsys, "create", "--channel", "telegram").strip())
    assert "channel telegram" in line
    assert "generate embeddings models:read" in line
    assert " – " in line


def test_a_deployments_key_is_put_in_place_once(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    file = elsewhere / "key"
    file.write_text("neo_abcdefghij_" + 40 * "A" + "\n")
    create = ("create", "--channel", "telegram", "--key-file", str(file))
    assert keys(capsys, *create) == keys(capsys, *create) == ""
    assert "channel telegram" in row(capsys, file.read_text().strip())
    assert keys(capsys, "list").count("channel telegram") == 1


@pytest.mark.parametrize("content", ["", "neo_short_x", "neo_abcdefghij_" + 40 * "B", "\xff"])
def test_a_file_that_holds_no_key_or_one_with_another_secret_is_refused(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, content: str
) -> None:
    file = elsewhere / "key"
    file.write_text("neo_abcdefghij_" + 40 * "A")
    create = ["keys", "create", "--channel", "telegram", "--key-file", str(file)]
    assert command(create) == 0
    file.write_text(content, encoding="latin-1")
    capsys.readouterr()
    assert command(create) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "neo_abcdefghij_" not in said.err
    assert str(file) in said.err or "another secret" in said.err


def test_rotate_prints_the_new_key_and_revoke_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    key = keys(capsys, "create", "--name", "x").strip()
    key_id = key.split("_")[1]
    rotated = keys(capsys, "rotate", key_id, "--grace", "60").strip()
    assert rotated.startswith(f"neo_{key_id}_")
    assert rotated != key
    keys(capsys, "revoke", key_id)
    assert "revoked" in row(capsys, key)
    assert command(["keys", "rotate", key_id]) == 1
    assert "Make a new one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rotate", "unknown"], "There is no key 'unknown'"),
        (["revoke", "unknown"], "There is no key 'unknown'"),
        (["create", "--name", " "], "printable"),
        (["create", "--name", "x", "--network", "here"], "192.0.2.0/24"),
    ],
)
def test_a_refusal_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["keys", *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("ai-core: ")
    assert output.err.count("\n") == 1
    assert words in output.err


@pytest.mark.parametrize(
    "arguments", [["create"], ["create", "--name", "a", "--channel", "b"], ["rotate", "x", "--grace", "-1"]]
)
def test_a_command_line_that_cannot_be_read_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command(["keys", *arguments])
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in (
        "postgresql://me:planted@127.0.0.1:1/x",
        "mysql://me:planted@h/x",
        "sqlite:////dev/null/x",
    ):
        monkeypatch.setenv("DATABASE_URL", address)
        assert command(["keys", "list"]) in {1, 2}
        output = capsys.readouterr()
        assert output.err.count("\n") == 1
        assert "planted" not in output.err


def serve(**settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ai_core", "serve"],
        env=os.environ | {"ENGINE_BACKEND": "scripted", "API_PORT": "0", "LOG_LEVEL": "error"} | settings,
        stderr=subprocess.PIPE,
        text=True,
    )


def welcome_of(process: subprocess.Popen[str]) -> str:
    """What it says at its start; then it is ended."""
    assert process.stderr is not None
    with process:
        try:
            return "".join(iter(process.stderr.readline, "\n"))
        finally:
            process.kill()


def test_the_first_start_makes_a_key_that_only_its_owner_can_read_and_shows_it_once(elsewhere: Path) -> None:
    (shown,) = SHAPE.findall(welcome_of(serve()))
    path = elsewhere / "var/local.key"
    assert path.read_text() == f"{shown}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = welcome_of(serve())
    assert not SHAPE.findall(second)
    assert "with keys" in second
    assert path.read_text() == f"{shown}\n"


def test_where_there_are_keys_already_none_is_made(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys(capsys, "create", "--name", "x")
    assert not SHAPE.findall(welcome_of(serve()))
    assert not (elsewhere / "var/local.key").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_listening_to_the_network_without_a_usable_key_is_refused(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal() -> str:
        with serve(API_HOST=host) as process:
            _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert said.startswith("ai-core: ")
        assert said.count("\n") == 1
        return said

    assert "ai-core keys create" in refusal()
    key_id = keys(capsys, "create", "--name", "x").split("_")[1]
    keys(capsys, "revoke", key_id)
    assert "no usable key" in refusal()
    keys(capsys, "create", "--name", "y")
    assert "open to the network, with keys" in welcome_of(serve(API_HOST=host))


def test_a_local_key_that_cannot_be_kept_is_one_sentence(elsewhere: Path) -> None:
    (elsewhere / "file").write_text("")
    with serve(LOCAL_KEY_PATH="file/local.key") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "LOCAL_KEY_PATH=file/local.key" in said
    assert said.count("\n") == 1


def test_chat_takes_the_key_from_where_it_is_kept(elsewhere: Path) -> None:
    key = f"neo_{'a' * 10}_{'b' * 40}"
    (elsewhere / "local.key").write_text(f"{key}\n")
    (elsewhere / "other.key").write_text(key.replace("b", "c"))
    local = elsewhere / "local.key"
    assert key_from({}, local) == key
    assert key_from({}, elsewhere / "none") is None
    assert key_from({"NEO_API_KEY": " mine\n"}, local) == "mine"
    assert key_from({"NEO_API_KEY_FILE": "other.key"}, local) == key.replace("b", "c")
    local.write_bytes(b"\xff")
    assert key_from({}, local) is None
