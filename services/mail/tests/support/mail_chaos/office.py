"""The mail servers of a lane of runs, and what people find in their folders."""

from __future__ import annotations

import asyncio
import email
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from certificates import issue
from mail_chaos.verdict import Received
from mail_servers import Dovecot, Postfix

ARRIVAL_SECONDS = 20.0
"""In which Postfix delivers what it has taken; only ends what would hang for ever."""


class Office:
    """A Dovecot and a Postfix."""

    def __init__(self, folder: Path) -> None:
        self.certificates = issue(folder)
        self.dovecot = Dovecot(self.certificates)
        self.dovecot.start()
        self.postfix = Postfix(self.dovecot, self.certificates)
        self.postfix.start()

    def close(self) -> None:
        """End them."""
        self.postfix.close()
        self.dovecot.close()

    async def received(self, people: Sequence[str], expected: int) -> list[Received]:
        """What is in their inboxes, once so many mails are."""
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while True:
            found = [one for person in people for one in await asyncio.to_thread(self._inbox, person)]
            if len(found) >= expected or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.1)

    async def copies(self, mailbox: str) -> Counter[str]:
        """How often each answer lies in the folder of what was sent, by Message-ID."""
        mails = await asyncio.to_thread(self.dovecot.mails, mailbox, '"Messages sent"')
        return Counter(str(email.message_from_bytes(mail)["Message-ID"]) for mail in mails)

    def _inbox(self, person: str) -> list[Received]:
        mails = [email.message_from_bytes(mail) for mail in self.dovecot.mails(person)]
        return [Received(person, str(mail["In-Reply-To"]), str(mail["Message-ID"])) for mail in mails]
