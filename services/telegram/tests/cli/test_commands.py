"""What operators type, and what they are told."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from servicekit.journal.journal import Journal
from telegram_service.__main__ import command
from telegram_service.answering.envelopes import Envelopes
from telegram_service.cli.office import Office, open_office
from telegram_service.config import Settings
from telegram_service.dialogue.history import Turn
from telegram_service.resources import seal_of
from telegram_service.storage.tables import journal as journal_tables

ANNE = 7_359_124_680
WORDS = "ma question secrète"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where the service has run."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "SECRET_KEY", "SECRET_KEY_OLD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "7000000:token")
    monkeypatch.setenv("TELEGRAM_DATABASE_URL", f"sqlite:///{tmp_path}/telegram.db")
    monkeypatch.setenv("SECRET_KEY", "a secret of the tests")
    return tmp_path


async def said(office: Office, settings: Settings) -> None:
    """Somebody was answered once, and given up once."""
    journal = Journal(office.database, journal_tables)
    await office.people.meet(ANNE)
    await office.personal_data.conversations.add(f"{ANNE}", ANNE, 1, Turn(WORDS, "une réponse"), 1)
    update = {"update_id": 5, "message": {"from": {"id": ANNE}, "text": WORDS}}
    for key in ("5", "6"):
        await journal.receive(key, f"{ANNE}", Envelopes(seal_of(settings)).close_update(update))
    held = await journal.hold(f"{ANNE}")
    assert held is not None
    for entry in await held.pending():
        await held.bury(entry, "it was tried too often")
    await held.release()


@pytest.fixture
def history() -> None:
    settings = Settings.load(os.environ)

    async def write() -> None:
        async with open_office(settings) as office:
            await said(office, settings)

    asyncio.run(write())


def typed(capsys: pytest.CaptureFixture[str], words: str) -> tuple[int, str, str]:
    """Exit status, and what was printed and complained of."""
    status = command(words.split())
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_without_anything_there_is_nothing_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, "dead-letters list") == (0, "There are no dead letters.\n", "")
    assert typed(capsys, "users list") == (0, "Nobody has written yet.\n", "")
    status, _, err = typed(capsys, f"export {ANNE}")
    assert (status, str(ANNE) in err) == (1, True)


@pytest.mark.usefixtures("history")
def test_dead_letters_are_listed_without_texts_which_are_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = typed(capsys, "dead-letters list")
    assert status == 0
    assert out.count("it was tried too often") == 2
    assert WORDS not in out
    status, out, _ = typed(capsys, "dead-letters show 1")
    assert (status, "tried too often" in out, WORDS in out) == (0, True, False)
    assert WORDS in typed(capsys, "dead-letters show 1 --text")[1]


@pytest.mark.usefixtures("history")
def test_dead_letters_are_put_back_or_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(capsys, "dead-letters requeue 1")[:2] == (0, "1 of 1 done.\n")
    status, out, err = typed(capsys, "dead-letters drop 1 2 99")
    assert (status, out) == (1, "1 of 3 done.\n")
    assert err == "telegram-service: not among the dead letters: 1, 99\n"
    assert typed(capsys, "dead-letters list")[1] == "There are no dead letters.\n"
    assert "open" in typed(capsys, "dead-letters show 1")[1]
    assert typed(capsys, "dead-letters show 2")[0] == 1


@pytest.mark.usefixtures("history")
def test_nothing_that_was_said_outlasts_a_message_that_is_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(json.loads(typed(capsys, f"export {ANNE}")[1])["conversations"]) == 1
    assert typed(capsys, "dead-letters drop 1")[0] == 0
    assert json.loads(typed(capsys, f"export {ANNE}")[1])["conversations"] == []


@pytest.mark.usefixtures("history")
def test_people_are_listed_shown_and_shut_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(ANNE) in typed(capsys, "users list")[1]
    assert typed(capsys, "users list --banned")[1] == "Nobody has written yet.\n"
    assert typed(capsys, f"users ban {ANNE}")[:2] == (0, f"{ANNE} is shut out.\n")
    assert str(ANNE) in typed(capsys, "users list --banned")[1]
    assert "creativity" in typed(capsys, f"users show {ANNE}")[1]
    assert typed(capsys, f"users unban {ANNE}")[0] == 0
    assert typed(capsys, "users show 1")[0] == 1


@pytest.mark.usefixtures("history")
def test_data_that_cannot_be_opened_any_more_is_said_to_be_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "another secret of the tests")
    status, out, _ = typed(capsys, f"export {ANNE}")
    assert status == 0
    (kept,) = json.loads(out)["conversations"]
    assert (kept["unreadable"], "question" in kept) == (True, False)


@pytest.mark.usefixtures("history")
def test_somebodys_data_is_written_to_a_file_of_the_operators_and_deleted(
    capsys: pytest.CaptureFixture[str], environment: Path
) -> None:
    assert json.loads(typed(capsys, f"export {ANNE}")[1])["id"] == ANNE
    path = environment / "anne.json"
    assert typed(capsys, f"export {ANNE} --output {path}")[:2] == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_text())
    assert document["conversations"][0]["question"] == WORDS
    assert len(document["messages"]) == 2
    assert typed(capsys, f"export {ANNE} --output {path}")[0] == 2, "nothing is overwritten"
    assert typed(capsys, f"forget {ANNE} --yes")[0] == 0
    assert typed(capsys, f"export {ANNE}")[0] == 1
    assert typed(capsys, "dead-letters list")[1] == "There are no dead letters.\n"


@pytest.mark.usefixtures("history")
def test_nothing_is_deleted_without_a_yes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.readline", lambda: "\n", raising=False)
    assert typed(capsys, f"forget {ANNE}")[0] == 1
    assert typed(capsys, f"export {ANNE}")[0] == 0


@pytest.mark.usefixtures("history")
def test_a_key_is_rotated(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "another secret of the tests")
    status, _, err = typed(capsys, "rotate-key")
    assert (status, "SECRET_KEY_OLD" in err) == (1, True)
    monkeypatch.setenv("SECRET_KEY_OLD", "0123456789abcdef0123456789abcdef")
    assert typed(capsys, "rotate-key")[0] == 1
    assert typed(capsys, "dead-letters show 1 --text")[1].count("another SECRET_KEY") == 1


def test_a_key_of_before_reads_what_it_has_sealed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef-old")
    settings = Settings.load(os.environ)

    async def write() -> None:
        async with open_office(settings) as office:
            await said(office, settings)

    asyncio.run(write())
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef-new")
    monkeypatch.setenv("SECRET_KEY_OLD", "0123456789abcdef-old")
    assert WORDS in typed(capsys, "dead-letters show 1 --text")[1]
    assert typed(capsys, "rotate-key") == (
        0,
        "4 texts sealed anew; 0 were sealed with SECRET_KEY already.\n",
        "",
    )
    monkeypatch.delenv("SECRET_KEY_OLD")
    assert WORDS in typed(capsys, "dead-letters show 1 --text")[1]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TELEGRAM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none", 1),
        ("TELEGRAM_DATABASE_URL", "oracle://x", 2),
        ("TELEGRAM_BOT_TOKEN", "", 2),
    ],
)
def test_what_is_wrong_with_the_settings_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    expected: int,
) -> None:
    monkeypatch.setenv(name, value)
    status, _, err = typed(capsys, "users list")
    assert status == expected
    assert name.removeprefix("TELEGRAM_") in err


def test_there_is_no_webhook_without_its_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_URL", "https://bot.example.org")
    status, _, err = typed(capsys, "run")
    assert status == 2
    assert "WEBHOOK_SECRET" in err
