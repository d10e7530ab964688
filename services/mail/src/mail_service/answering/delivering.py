"""Does what an answer consists of: the mail out once, as far as that can be known, its copy, the mark."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mail_service.answering.envelopes import Copying, Envelopes, Forgetting, Marking, Outgoing, Sending
from mail_service.answering.outbox import Outbox
from mail_service.answering.patience import Later, after
from mail_service.mailbox.port import Box, Cursor, Mailbox, MailboxError, MailboxRefused, Mark
from mail_service.sending.port import NotSent, OutgoingMail, Outlet, Refused, Unknown
from mail_service.storage.ways import Step, Ways
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import UNFINISHED, Entry, Part, PartState
from servicekit.logging import get_logger

RESEND_SECONDS = 30.0
"""After a mail whose end nobody knows: the server has time to say so if it has taken it after all."""
MOST_REPEATS = 1
COPY_PATIENCE = timedelta(hours=1)
"""A copy or a mark that cannot be made for this long is left out: what matters has gone out."""

Outcome = Literal["sent", "drafted", "unknown", "forgotten"]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The server will never take it, or has put it off for too long."""

    reason: str


class Deliverer:
    """One for all lanes.

    Args:
        outlets: by the addresses of accounts.
        mailboxes: by the names of folders.
        drafts: the mailbox of an account whose special folders are used.
        forget: deletes everything of a person, lanes included.
        give_up_after: what the other side puts off for longer than this is not delivered; it counts from
            when the answer was written, or put back by an operator.
    """

    def __init__(
        self,
        outlets: Mapping[str, Outlet],
        mailboxes: Mapping[str, Mailbox],
        drafts: Mapping[str, Mailbox],
        envelopes: Envelopes,
        ways: Ways,
        *,
        forget: Callable[[str], Awaitable[None]],
        clock: Callable[[], datetime],
        give_up_after: timedelta = timedelta(hours=48),
    ) -> None:
        self._outlets = outlets
        self._mailboxes = mailboxes
        self._drafts = drafts
        self._envelopes = envelopes
        self._ways = ways
        self._forget = forget
        self._clock = clock
        self._give_up_after = give_up_after
        self._outbox = Outbox()

    async def deliver(self, lane: HeldLane, entry: Entry) -> Outcome | Later | Undeliverable:
        """Do what is still to be done, in order. Raises LaneLost, StorageUnavailable, Unreadable."""
        parts = await lane.parts(entry)
        outcome: Outcome = "sent"
        # What comes after something that is done just now was never tried before.
        new = False
        for part in parts:
            if part.state is PartState.UNKNOWN:
                outcome = "unknown"
            if part.state not in UNFINISHED:
                continue
            found = await self._do(lane, entry, part, parts, new=new)
            new = True
            if isinstance(found, Undeliverable):
                return await self._forgotten_all_the_same(lane, parts) or found
            if isinstance(found, Later):
                return found
            outcome = found if outcome == "sent" else outcome
        return outcome

    async def _do(
        self, lane: HeldLane, entry: Entry, part: Part, parts: Sequence[Part], *, new: bool
    ) -> Outcome | Later | Undeliverable:
        todo = self._envelopes.open_part(part.content)
        match todo:
            case Sending(draft=True):
                return await self._draft(lane, entry, part, todo)
            case Sending():
                return await self._send(lane, entry, part, todo)
            case Copying() | Marking():
                return await self._afterwards(lane, entry, part, todo, parts, new=new)
            case Forgetting():
                await lane.renew()
                await self._forget(todo.person)
                return "forgotten"

    async def _send(
        self, lane: HeldLane, entry: Entry, part: Part, todo: Sending
    ) -> Outcome | Later | Undeliverable:
        outlet = self._outlets.get(todo.account)
        if outlet is None:
            return Undeliverable("its account is no longer configured")
        part = await self._outbox.recall(lane, part, self._ways.noting(entry.id, Step.SENT))
        if part.state is PartState.SENT:
            return "sent"
        if part.state is PartState.SENDING and part.repeats >= MOST_REPEATS:
            return await self._leave_open(lane, entry, part)
        mail = OutgoingMail(todo.sender, todo.recipient, todo.content)
        return await self._try(lane, entry, part, outlet, mail)

    async def _try(
        self, lane: HeldLane, entry: Entry, part: Part, outlet: Outlet, mail: OutgoingMail
    ) -> Outcome | Later | Undeliverable:
        again = part.state is PartState.SENDING
        try:
            await self._outbox.send(lane, part, outlet, mail, self._ways.noting(entry.id, Step.SENT))
        except NotSent as error:
            return await self._later(entry, _coded("not sent", error.code))
        except Refused as error:
            # It stays as it is: put back by an operator, it goes out under the same Message-ID.
            return Undeliverable(_coded("refused by the mail server", error.code))
        except Unknown:
            if part.repeats + again >= MOST_REPEATS:
                return await self._leave_open(lane, entry, part)
            return Later(RESEND_SECONDS, "nobody knows whether it was taken")
        return "sent"

    async def _later(self, entry: Entry, reason: str) -> Later | Undeliverable:
        """RFC 5321, 4.5.4.1: a sender gives up at last."""
        way = await self._ways.of(entry.id)
        begun = [passed.at for passed in way if passed.step in {Step.WRITTEN, Step.REQUEUED}]
        age = self._clock() - max([entry.received_at, *begun])
        return Undeliverable(reason) if age >= self._give_up_after else Later(after(age), reason)

    async def _leave_open(self, lane: HeldLane, entry: Entry, part: Part) -> Outcome:
        await lane.unknown(part, also=self._ways.noting(entry.id, Step.UNKNOWN))
        return "unknown"

    async def _forgotten_all_the_same(self, lane: HeldLane, parts: Sequence[Part]) -> Outcome | None:
        """Who wanted everything deleted need not be told of it for that."""
        for part in parts:
            todo = self._envelopes.open_part(part.content)
            if isinstance(todo, Forgetting):
                await lane.renew()
                await self._forget(todo.person)
                return "forgotten"
        return None

    async def _draft(
        self, lane: HeldLane, entry: Entry, part: Part, todo: Sending
    ) -> Outcome | Later | Undeliverable:
        mailbox = self._drafts.get(todo.account)
        if mailbox is None:
            return Undeliverable("its account is no longer configured")
        part = await lane.sending(part)
        try:
            # Once per Message-ID: doing it again does no harm.
            await mailbox.keep(Box.DRAFTS, todo.content)
        except MailboxRefused:
            await lane.unsent(part)
            return Undeliverable("the mailbox takes no draft")
        except MailboxError as error:
            await lane.unsent(part)
            return await self._later(entry, type(error).__name__)
        await lane.sent(part, also=self._ways.noting(entry.id, Step.DRAFTED))
        return "drafted"

    async def _afterwards(
        self,
        lane: HeldLane,
        entry: Entry,
        part: Part,
        todo: Copying | Marking,
        parts: Sequence[Part],
        *,
        new: bool,
    ) -> Outcome | Later:
        try:
            # Both may be done twice, also by somebody who has lost the lane.
            await self._tidy(todo, parts, new=new)
        except MailboxError as error:
            age = self._clock() - entry.received_at
            if age < COPY_PATIENCE and not isinstance(error, MailboxRefused):
                return Later(after(age), type(error).__name__)
            _log.warning("answer not filed", reason=type(error).__name__)
            await lane.dropped(part)
            return "sent"
        step = Step.COPIED if isinstance(todo, Copying) else Step.MARKED
        await lane.sent(part, also=self._ways.noting(entry.id, step))
        return "sent"

    async def _tidy(self, todo: Copying | Marking, parts: Sequence[Part], *, new: bool) -> None:
        """Raises MailboxError. An account or a folder that is no longer watched is left alone."""
        if isinstance(todo, Marking):
            folder = self._mailboxes.get(todo.folder)
            if folder is not None:
                await folder.mark(Cursor(todo.uid_validity, todo.uid), Mark.ANSWERED)
            return
        mailbox = self._drafts.get(todo.account)
        sent: list[Outgoing] = [self._envelopes.open_part(part.content) for part in parts]
        if mailbox is not None and isinstance(sent[0], Sending):
            await mailbox.keep(Box.SENT, sent[0].content, new=new)


def _coded(text: str, code: int | None) -> str:
    return text if code is None else f"{text} ({code})"
