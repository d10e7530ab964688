"""What a mail server puts off again and again is given up at last, and the operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from mail_service.answering.delivering import Deliverer, Undeliverable
from mail_service.answering.envelopes import Envelopes, Sending
from mail_service.answering.patience import Later
from mail_service.mailbox.port import Box, MailboxUnavailable
from mail_service.sending.port import NotSent, OutgoingMail
from mail_service.storage.ways import Step
from mail_store import Store
from servicekit.storage.sealing import SecretSeal

US = "neo@example.test"
PATIENCE = timedelta(hours=48)


@dataclass(frozen=True)
class Putting:
    """A server that says each time: later."""

    async def send(self, mail: OutgoingMail) -> None:
        raise NotSent("greylisted", 451)

    async def keep(self, box: Box, content: bytes) -> None:
        raise MailboxUnavailable("away")


@pytest.mark.parametrize("draft", [False, True])
async def test_what_is_always_put_off_is_given_up(store: Store, draft: bool) -> None:
    envelopes, server = Envelopes(SecretSeal(b"a secret of the tests", "mail")), cast(Any, {US: Putting()})

    async def nobody(_person: str) -> None:
        raise AssertionError

    deliverer = Deliverer(
        server,
        {},
        server,
        envelopes,
        store.ways,
        forget=nobody,
        clock=store.clock,
        give_up_after=PATIENCE,
    )
    number = await store.letter("<1@x>")
    # The answer took as long as an answer may take: its delivery has a time of its own.
    store.clock.now += PATIENCE
    held = await store.journal.claim()
    assert held is not None
    entry = await held.due()
    assert entry is not None
    sending = Sending(US, US, "anne@people.test", b"From: ...", draft)
    await held.answer(
        entry, [envelopes.close_part(sending)], also=store.ways.noting(number, Step.WRITTEN, "model")
    )
    for _ in range(2):
        assert isinstance(await deliverer.deliver(held, entry), Later)
        store.clock.now += PATIENCE - timedelta(minutes=1)
        assert isinstance(await deliverer.deliver(held, entry), Later)
        store.clock.now += timedelta(minutes=1)
        assert isinstance(await deliverer.deliver(held, entry), Undeliverable)
        # An operator puts it back: it is tried as long again.
        await store.ways.add(number, Step.REQUEUED)
