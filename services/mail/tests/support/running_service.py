"""The mail service in this process, over a real Dovecot, a real Postfix and a real database."""

from __future__ import annotations

import asyncio
import email
import smtplib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from certificates import Certificates
from mail_servers import PASSWORD, Dovecot, Postfix, somebody
from mail_service.app import Service, at_work, open_service
from mail_service.config import Settings
from mail_service.records import migrate
from mail_service.storage.tables import metadata
from mail_service.storage.ways import Passed
from mail_service.web import create_web
from servers import HOST, PATIENCE
from servicekit.serving.http import serving
from servicekit.serving.lifetime import Lifetime

SECRET = "a secret of the tests"
ADMIN_KEY = "an admin key of the tests"


class NoRecords:
    """Name servers that know of nothing."""

    async def txt(self, name: str) -> tuple[bytes, ...]:
        return ()


@dataclass
class PostOffice:
    """Mail servers, and a mailbox that a service answers."""

    dovecot: Dovecot
    postfix: Postfix
    certificates: Certificates
    folder: Path
    database_url: str
    address: str

    def settings(self, core_url: str, **more: Any) -> dict[str, str]:
        """As they would stand in an environment."""
        values = {
            "EMAIL_ADDRESS": self.address,
            "EMAIL_PASSWORD": PASSWORD,
            "EMAIL_CHECK_INTERVAL": "0.2",
            "IMAP_HOST": "localhost",
            "IMAP_PORT": self.dovecot.imaps_port,
            "SMTP_PORT": self.postfix.starttls_port,
            "CA_FILE": self.certificates.authority,
            "AI_API_URL": core_url,
            "AI_API_KEY": "neo_test",
            "DATABASE_URL": self.database_url,
            "SECRET_KEY": SECRET,
            "ADMIN_KEY": ADMIN_KEY,
            "MAIL_PORT": 0,
            "AUTHSERV_ID": "mx.example.test",
            "WORKERS": 2,
            **more,
        }
        return {name: str(value) for name, value in values.items()}

    def another(self) -> PostOffice:
        """A second mailbox, with a service and a database of its own."""
        return replace(
            self,
            address=somebody("example.test"),
            database_url=self.database_url.replace("mail.db", "other.db"),
        )

    def send(self, mail: EmailMessage | bytes, sender: str, *recipients: str) -> None:
        """By SMTP, as another server would."""
        content = mail if isinstance(mail, bytes) else mail.as_bytes()
        with smtplib.SMTP(HOST, self.postfix.port) as smtp:
            smtp.sendmail(sender, list(recipients) or [self.address], content)

    def inbox(self, address: str, folder: str = "INBOX") -> list[EmailMessage]:
        """What somebody's mail program shows."""
        return [email.message_from_bytes(raw, policy=default) for raw in self.dovecot.mails(address, folder)]

    async def until(self, reached: Callable[[], Any], what: str = "it happens") -> Any:
        """Look into mailboxes of others until something is there."""
        deadline = time.monotonic() + PATIENCE
        while not (found := await asyncio.to_thread(reached)):
            assert time.monotonic() < deadline, f"never: {what}"
            await asyncio.sleep(0.05)
        return found

    async def answers(self, address: str, count: int = 1) -> list[EmailMessage]:
        """So many mails in somebody's inbox."""
        await self.until(lambda: len(self.dovecot.mails(address)) >= count, f"{count} answers")
        found = self.inbox(address)
        assert len(found) == count
        return found

    @asynccontextmanager
    async def service(self, core_url: str, **more: Any) -> AsyncIterator[RunningService]:
        """The whole service, until the block ends."""
        settings = Settings.load(self.settings(core_url, **more))
        await migrate(settings)
        lifetime = Lifetime()
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(open_service(settings, resolver=NoRecords()))
            web = create_web(service.health, service.metrics, service.office, settings.admin_key)
            port = await stack.enter_async_context(serving(web, HOST, 0))
            service.crew.start()
            try:
                async with at_work(settings, service, lifetime):
                    yield RunningService(service, f"http://{HOST}:{port}")
            finally:
                await service.crew.stop(5.0)


@dataclass
class RunningService:
    """The service, and where its door is."""

    service: Service
    url: str

    async def get(self, path: str, key: str | None = ADMIN_KEY) -> httpx.Response:
        """Through the door."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.get(self.url + path, headers={"x-api-key": key} if key else {})

    async def post(self, path: str, body: object = None, key: str | None = ADMIN_KEY) -> httpx.Response:
        """Through the door."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.post(self.url + path, json=body, headers={"x-api-key": key} if key else {})

    async def delete(self, path: str, key: str | None = ADMIN_KEY) -> httpx.Response:
        """Through the door."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return await http.delete(self.url + path, headers={"x-api-key": key} if key else {})

    async def arrived(self, count: int) -> None:
        """So many mails have been taken in."""
        entries = metadata.tables["letters"]
        incoming = select(func.count()).select_from(entries).where(~entries.c.outgoing)

        async def number() -> int:
            async with self.service.records.database.reading() as connection:
                found: int = (await connection.execute(incoming)).scalar_one()
                return found

        async with asyncio.timeout(PATIENCE):
            while await number() < count:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.02)

    async def until_waiting(self, count: int, reason: str = "held: hourly_limit") -> None:
        """So many mails wait for this reason."""
        async with asyncio.timeout(PATIENCE):
            while await self._waiting(reason) < count:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.02)

    async def until_pending(self, count: int) -> None:
        """So many mails, and words to their senders, are not done with."""
        async with asyncio.timeout(PATIENCE):
            # The journal tells nobody outside the service.
            while (await self.service.records.ledger.backlog()).pending != count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _waiting(self, reason: str) -> int:
        return [one["reason"] for one in await self.service.office.queue()].count(reason)

    async def way(self, entry_id: int) -> list[Passed]:
        """What was done with a mail."""
        return await self.service.records.ways.of(entry_id)

    async def settled(self) -> None:
        """Nothing waits."""
        await self.until_pending(0)


def question(
    sender: str, recipient: str, text: str = "Quelle est la durée du travail ?", **headers: str
) -> EmailMessage:
    """A mail as a mail program writes it."""
    mail = EmailMessage()
    values = {
        "From": f"Anne Martin <{sender}>",
        "To": recipient,
        "Subject": "Une question",
        "Message-ID": f"<{time.monotonic_ns()}@people.test>",
        "Date": "Sat, 21 Nov 2026 20:00:00 +0100",
        # What the receiving server writes on top, in real life.
        "Authentication-Results": f"mx.example.test; spf=pass smtp.mailfrom={sender}",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in values.items():
        if value:
            mail[name] = value
    mail.set_content(text)
    return mail


def reply(to: EmailMessage, sender: str, text: str, **headers: str) -> EmailMessage:
    """An answer to one of the service's mails."""
    before = f"{to.get('References', '')} {to['Message-ID']}".strip()
    return question(
        sender,
        str(to["From"]),
        text,
        Subject=f"Re: {to['Subject']}",
        In_Reply_To=str(to["Message-ID"]),
        References=before,
        **headers,
    )


@pytest.fixture
def post_office(dovecot: Dovecot, postfix: Postfix, certificates: Certificates, tmp_path: Path) -> PostOffice:
    """A mailbox of its own for each test, and an SQLite file."""
    return PostOffice(
        dovecot, postfix, certificates, tmp_path, f"sqlite:///{tmp_path}/mail.db", somebody("example.test")
    )
