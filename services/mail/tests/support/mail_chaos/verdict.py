"""Whether everybody was answered once, from what the journal says, what the server took, and what people
have. Pure.

A mail goes out again only where nobody could know whether it had: the server's last word was cut off, or the
process ended while it was sending.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """What somebody wrote."""

    message_id: str
    person: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A mail as the journal has it, with its answer."""

    id: int
    message_id: str
    lane: str
    state: str
    reason: str
    sent: str = ""
    """State of the part that goes out; empty: there is none."""
    repeats: int = 0
    answer_id: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A mail in somebody's inbox."""

    person: str
    in_reply_to: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a verdict needs."""

    written: Sequence[Written]
    entries: Sequence[EntryRow]
    taken: Mapping[str, int]
    """How often the server took each answer, in the order of the first time."""
    received: Sequence[Received]
    copies: Mapping[str, int]
    """How often each answer lies in the folder of what was sent."""
    lost_replies: int
    """How often the server took a mail, and its last word was cut off."""
    open_ends: int
    """How often the proxy left it open what became of a mail, those included."""
    killed_sending: int
    """How often the process ended while a mail was going out."""
    in_doubt: int
    """How often nobody knows whether the journal stored that one would: none of those went out."""
    refusals: int
    """How often the proxy refused a mail for good."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run."""

    faults: Sequence[str]
    answered: int
    again: int
    """Copies that went out beyond the first."""
    cuts: int


def judge(facts: Facts) -> Verdict:
    """Every fault in words; none: the run is as it should be."""
    again = sum(count - 1 for count in facts.taken.values())
    cuts = facts.lost_replies + facts.killed_sending
    faults = [
        *_entries(facts),
        *(fault for written in facts.written for fault in _of_mail(written, facts)),
        *_strangers(facts),
        *_order(facts),
    ]
    if again > cuts:
        faults.append(f"{again} mails went out again, {cuts} cuts")
    repeats = sum(entry.repeats for entry in facts.entries)
    kills = facts.killed_sending + facts.in_doubt
    if repeats > facts.open_ends + kills:
        faults.append(f"{repeats} repeats, {facts.open_ends} open ends, {kills} kills")
    dead = sum(entry.state == "dead" for entry in facts.entries)
    if dead > facts.refusals:
        faults.append(f"{dead} mails are dead, {facts.refusals} refusals")
    answered = sum(entry.sent == "sent" for entry in facts.entries)
    return Verdict(faults, answered, again, cuts)


def _entries(facts: Facts) -> Iterator[str]:
    counts = Counter(entry.message_id for entry in facts.entries)
    known = {written.message_id for written in facts.written}
    for message_id, count in counts.items():
        if message_id not in known:
            yield f"{message_id}: nobody wrote that"
        if count > 1:
            yield f"{message_id}: stored {count} times"


def _of_mail(written: Written, facts: Facts) -> Iterator[str]:
    name = written.message_id
    entry = next((entry for entry in facts.entries if entry.message_id == name), None)
    if entry is None:
        yield f"{name}: never stored"
        return
    answers = [one.message_id for one in facts.received if one.in_reply_to == name]
    taken = facts.taken.get(entry.answer_id, 0)
    if len(set(answers)) > 1:
        yield f"{name}: answers under {len(set(answers))} Message-IDs"
    if len(answers) != taken:
        yield f"{name}: the server took {taken}, and {len(answers)} arrived"
    if entry.state == "done" and entry.sent == "sent":
        if not answers:
            yield f"{name}: marked as sent, and nobody has it"
        if facts.copies.get(entry.answer_id, 0) != 1:
            yield f"{name}: {facts.copies.get(entry.answer_id, 0)} copies of its answer are kept"
    elif entry.state == "done" and entry.sent == "unknown":
        # Twice nobody could know: only then it is left open.
        if entry.repeats < 1:
            yield f"{name}: left open after one try"
    elif not (entry.state == "dead" and "refused by the mail server" in entry.reason):
        yield f"{name}: {entry.state} ({entry.reason}), its answer {entry.sent or 'missing'}"


def _strangers(facts: Facts) -> Iterator[str]:
    people = {written.message_id: written.person for written in facts.written}
    for one in facts.received:
        if people.get(one.in_reply_to) != one.person:
            yield f"{one.message_id}: somebody has it who did not ask"


def _order(facts: Facts) -> Iterator[str]:
    places = {answer_id: place for place, answer_id in enumerate(facts.taken)}
    lanes: dict[str, list[int]] = {}
    for entry in sorted(facts.entries, key=lambda entry: entry.id):
        if entry.answer_id in places:
            lanes.setdefault(entry.lane, []).append(places[entry.answer_id])
    for lane, order in lanes.items():
        if order != sorted(order):
            yield f"thread {lane[:8]}: answers went out in another order than mails came in"
