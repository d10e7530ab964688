"""Mails that go out, and waiting until they have arrived."""

from __future__ import annotations

import asyncio
import time

from mail_servers import Dovecot
from mail_service.sending.port import OutgoingMail
from servers import PATIENCE


def outgoing(
    recipient: str, body: str = "Hello", *, message_id: str = "<1@example.test>", times: int = 1
) -> OutgoingMail:
    """A mail of ours."""
    head = (
        "From: service@example.test",
        f"To: {recipient}",
        "Subject: Re: a question",
        "Date: Sat, 21 Nov 2026 20:00:00 +0000",
        f"Message-ID: {message_id}",
        "",
        "",
    )
    content = "\r\n".join(head).encode() + body.encode() * times
    return OutgoingMail("service@example.test", recipient, content)


async def arrived(dovecot: Dovecot, address: str, count: int) -> list[bytes]:
    """All mails in somebody's inbox, as soon as there are so many."""
    deadline = time.monotonic() + PATIENCE
    while len(found := await asyncio.to_thread(dovecot.mails, address)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} mails arrived"
        await asyncio.sleep(0.02)
    return found
