"""Gathers what is known about a mail, has it decided upon, and writes the decision down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from mail_service.answering.envelopes import CameIn
from mail_service.answering.words_of_decisions import AS_WRITTEN, HEAD, PROVEN, outcome_of, told
from mail_service.deciding.decide import decide, is_shared, is_urgent
from mail_service.deciding.decisions import Hold, Outcome
from mail_service.deciding.facts import Facts, Rules
from mail_service.letters import Letter
from mail_service.mailbox.port import Unread
from mail_service.scanning.port import Scanner
from mail_service.storage.allowances import Allowances
from mail_service.storage.correspondence import Correspondence
from mail_service.storage.names import Names
from mail_service.storage.ways import Step, Ways
from mail_service.verifying.verify import Proof
from servicekit.journal.records import Entry

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
COMPARED = 50
"""Letters of a sender within a day that one is compared with."""
_AFTER_THE_SCANNERS = "virus"
"""The rule from which on their word counts."""


class Prover(Protocol):
    """Finds out who sent a mail."""

    async def verify(self, raw: bytes, letter: Letter) -> Proof:
        """What is known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiners:
    """Who is asked about mails besides the database."""

    prover: Prover
    spam: Scanner
    virus: Scanner


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a mail, and what is known of its sender."""

    outcome: Outcome
    head_proven: bool
    """As in :class:`~mail_service.deciding.facts.Facts`."""
    urgent: bool
    """It goes before others that wait for the same."""


class Judge:
    """One for all lanes."""

    def __init__(
        self,
        rules: Rules,
        examiners: Examiners,
        correspondence: Correspondence,
        allowances: Allowances,
        names: Names,
        ways: Ways,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._rules = rules
        self._examiners = examiners
        self._correspondence = correspondence
        self._allowances = allowances
        self._names = names
        self._ways = ways
        self._clock = clock

    async def judge(self, entry: Entry, came: CameIn, letter: Letter) -> Judgement:
        """What becomes of a mail: what was decided before, unless it was to wait. Raises
        StorageUnavailable."""
        before = await self._ways.decided(entry.id)
        if before is not None and (outcome := outcome_of(before.reason)) is not None:
            proven = dict(before.rules).get(HEAD) == PROVEN
            return Judgement(outcome, proven, is_urgent(letter, self._rules))
        facts = await self._facts(entry, came, letter)
        decision = decide(letter, facts, self._rules)
        if any(step.rule == _AFTER_THE_SCANNERS for step in decision.steps):
            # Nothing else has settled it: now it is worth asking them.
            facts = replace(
                facts,
                virus=await self._examiners.virus.scan(came.raw),
                spam=await self._examiners.spam.scan(came.raw),
            )
            decision = decide(letter, facts, self._rules)
        reason = told(decision.outcome)
        if before is None or before.reason != reason or not isinstance(decision.outcome, Hold):
            head = PROVEN if facts.head_proven else "not proven"
            rules = [*decision.steps, (AS_WRITTEN, facts.verdict.value), (HEAD, head)]
            await self._ways.add(entry.id, Step.DECIDED, reason, rules)
        return Judgement(decision.outcome, facts.head_proven, decision.urgent)

    async def _facts(self, entry: Entry, came: CameIn, letter: Letter) -> Facts:
        now = self._clock()
        address = letter.sender.address if letter.sender is not None else ""
        person = self._names.person(address)
        proof = await self._examiners.prover.verify(came.raw, letter)
        lately = await self._correspondence.lately(person, now - DAY, entry.id, COMPARED)
        incoming = [one for one in lately if not one.outgoing]
        answered = {one.entry_id for one in lately if one.outgoing}
        shared = is_shared(letter, self._rules.own_addresses)
        return Facts(
            now=now,
            waited=now - entry.received_at,
            verdict=proof.verdict,
            dns_away=proof.dns_away,
            breaks_policy=proof.breaks_policy,
            head_proven=proof.head_proven,
            is_ours=self._names.is_ours(letter.message_id),
            answers_ours=any(map(self._names.is_ours, (*letter.in_reply_to, *letter.references))),
            # What was not answered may be said again: by whom it is really from, or once they are allowed.
            earlier=tuple(one.written.essence for one in incoming if one.entry_id in answered),
            answers_in_thread=sum(one.outgoing and one.thread == came.thread for one in lately),
            mails_of_sender=sum(one.at > now - HOUR for one in incoming),
            free_at=await self._allowances.look(entry.id, person, shared=shared),
            told_today=False,
            too_large=came.unread == Unread.TOO_LARGE,
            unreadable=came.unread == Unread.UNREADABLE,
        )
