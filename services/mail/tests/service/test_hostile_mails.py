"""Mails that nobody should send, through the whole service: none crashes it, none is lost, each ends in the
state that the table says, the readable ones are answered, and nobody else hears of it."""

from __future__ import annotations

import asyncio
import email
import os
from email.policy import default

from sqlalchemy import select

from hostile import ANSWERED, Hostile, hostile
from mail_core import scripted_core
from mail_servers import Dovecot
from mail_service.storage.tables import journal
from running_service import PostOffice, RunningService
from servicekit.journal.records import PENDING, EntryState
from what_left import ONLY_HEADERS, mailboxes

NAMED = (
    *("no Message-ID", "the same boundary within", "thousands of parts", "zip bomb", "one line without end"),
    *("NULs between", "latin-1 as 'utf-8'", "a header in it", "name: a header", "from us", "delivery-status"),
    *("an invitation", "S/MIME", "empty", "only a picture", "a mail in a mail", "two addresses", "no From"),
    *("odd bytes in gb2312", "a document that is a bomb", "a huge picture", "line feeds only", "noise"),
)
"""What the service must have seen in each run; of the others, every eighth."""


def chosen() -> list[Hostile]:
    """Some of them; all with HOSTILE_MAILS=all, which takes two minutes."""
    mails = hostile()
    assert len(mails) >= 200
    if os.environ.get("HOSTILE_MAILS") == "all":
        return mails
    must = {mail.name for mail in mails for name in NAMED if name in mail.name}
    return [mail for number, mail in enumerate(mails) if mail.name in must or number % 8 == 0]


async def test_each_ends_in_its_state(post_office: PostOffice, dovecot: Dovecot) -> None:
    mails = chosen()
    dovecot.put(post_office.address, [mail.raw(post_office.address) for mail in mails])
    before = mailboxes(dovecot)
    plenty = {"MAX_EMAILS_PER_HOUR": "100000", "MAX_SHARED_EMAILS_PER_HOUR": "100000"}
    async with scripted_core() as core, post_office.service(core.url, **plenty) as running:
        await post_office.until(lambda: len(dovecot.flags(post_office.address)) >= len(mails))
        states = await states_in_order(running, len(mails))
        written_to = await asyncio.to_thread(lambda: mailboxes(dovecot) - before)
    assert [
        f"{mail.name}: {state}" for mail, state in zip(mails, states, strict=True) if state != mail.state
    ] == []
    answered = {mail.sender for mail in mails if mail.state == ANSWERED}
    assert written_to == answered
    for sender in sorted(answered):
        (raw,) = dovecot.mails(sender)
        answer = email.message_from_bytes(raw, policy=default)
        assert {name.lower() for name in answer} <= ONLY_HEADERS
        assert [address.addr_spec for address in answer["To"].addresses] == [sender]


async def states_in_order(running: RunningService, count: int) -> list[str]:
    """What the operator sees of each mail, once nothing waits."""
    statement = select(journal.entries.c.state, journal.entries.c.reason).order_by(journal.entries.c.id)
    while True:
        async with running.service.records.database.reading() as connection:
            rows = (await connection.execute(statement)).all()
        if len(rows) >= count and not {EntryState(state) for state, _ in rows} & set(PENDING):
            break
        # The journal tells nobody outside the service.
        await asyncio.sleep(0.1)
    return [
        "dead" if EntryState(state) is EntryState.DEAD else str(reason).partition(":")[0]
        for state, reason in rows
    ]
