"""Words of our own to people whose mail waits or cannot be answered: each of them once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mail_service import lanes
from mail_service.answering.envelopes import CameIn, Envelopes, Notice
from mail_service.composing.words import Phrase
from mail_service.language import language_of
from mail_service.letters import Letter
from mail_service.storage.names import Names
from mail_service.threads import own_id, references_for
from servicekit.journal.journal import Journal
from servicekit.journal.records import Entry
from servicekit.journal.wakeups import Wakeups


class Notices:
    """They are entries of the journal like mails that came in: stored, sent once, and seen by the
    operator."""

    def __init__(
        self,
        journal: Journal,
        envelopes: Envelopes,
        names: Names,
        wakeups: Wakeups,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._envelopes = envelopes
        self._names = names
        self._wakeups = wakeups
        self._clock = clock

    async def waits(self, came: CameIn, letter: Letter) -> None:
        """Tell the sender that their mail waits: once a day, whatever else they write."""
        if letter.sender is not None:
            about = self._names.person(letter.sender.address)
            key = self._names.notice(about, f"{Phrase.WAITS} {self._clock():%Y-%m-%d}")
            await self._tell(key, came, letter, Phrase.WAITS, None)

    async def apologise(self, entry: Entry, came: CameIn, letter: Letter) -> None:
        """Tell the sender that there will be no answer."""
        key = self._names.notice(entry.key, Phrase.APOLOGY)
        await self._tell(key, came, letter, Phrase.APOLOGY, entry.id)

    async def _tell(
        self, key: str, came: CameIn, letter: Letter, which: Phrase, instead_of: int | None
    ) -> None:
        if letter.sender is None:
            return
        notice = Notice(
            account=came.account,
            which=which,
            language=language_of(letter.text, letter.subject),
            address=letter.sender.address,
            name=letter.sender.name,
            subject=letter.subject,
            in_reply_to=own_id(letter),
            references=references_for(letter),
            instead_of=instead_of,
        )
        if await self._journal.receive(
            key, lanes.notices(came.thread), self._envelopes.close_incoming(notice)
        ):
            self._wakeups.ring()
