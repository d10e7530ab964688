"""However the service ends, what it works on is free for others at once."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import NoReturn

import pytest

from mail_service import app
from mail_service.answering.envelopes import Sending
from mail_service.app import Service, run
from mail_service.config import Settings
from mail_service.records import migrate, open_records
from mail_service.sending.port import Access, OutgoingMail
from servers import HOST, PATIENCE

US = "neo@example.test"


async def test_a_service_that_has_lost_a_task_gives_its_lanes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_settings: Settings, service: Service) -> NoReturn:
        while not await service.records.journal.busy("thread"):  # noqa: ASYNC110 - the journal tells nobody
            await asyncio.sleep(0.01)
        raise RuntimeError("nobody has thought of this")

    monkeypatch.setattr(app, "keep_house", fails)
    silent = await asyncio.start_server(hear, HOST, 0)
    async with silent:
        settings = settings_of(tmp_path, silent.sockets[0].getsockname()[1])
        await migrate(settings)
        async with open_records(settings) as records:
            await records.journal.receive("mail", "thread", b"")
            held = await records.journal.claim()
            assert held is not None
            entry = await held.due()
            assert entry is not None
            draft = Sending(US, US, "anne@people.test", b"From: ...", draft=True)
            await held.answer(entry, [records.envelopes.close_part(draft)])
            await held.release()
            with pytest.raises(RuntimeError, match="nobody has thought of this"):
                await run(settings)
            assert not await records.journal.busy("thread")


class Forgetful:
    """An SMTP server that answers just when we are told to end, so that nobody hears of the end."""

    access = Access.OK

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def look(self) -> Access:
        self.asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return Access.OK

    async def send(self, mail: OutgoingMail) -> None:
        """Nothing is sent."""

    async def ping(self) -> float:
        return 0.0

    async def close(self) -> None:
        """Nothing is open."""


async def test_an_answer_at_the_last_moment_does_not_hold_up_the_end() -> None:
    outlet = Forgetful()
    task = asyncio.create_task(app.keep_looking("smtp", outlet))
    await outlet.asked.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    assert done


async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never say a word."""
    while await reader.read(1_000):
        pass
    writer.close()


def settings_of(folder: Path, imap_port: int) -> Settings:
    """With an IMAP server that never says a word."""
    values = {
        "EMAIL_ADDRESS": US,
        "EMAIL_PASSWORD": "secret",
        "IMAP_HOST": HOST,
        "IMAP_PORT": str(imap_port),
        "SMTP_HOST": HOST,
        "SMTP_PORT": "9",
        "AI_API_URL": f"http://{HOST}:9",
        "AI_API_KEY": "neo_test",
        "DATABASE_URL": f"sqlite:///{folder}/mail.db",
        "SECRET_KEY": "a secret of the tests",
        "MAIL_PORT": "0",
        "DRAIN_TIMEOUT": "0.1",
    }
    return Settings.load(values)
