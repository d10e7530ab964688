"""Whether everybody was answered once, from what the journal says and what people saw. Pure.

Ambiguous is a message that is out although the journal does not know it, or of which the journal says that
nobody knows whether it is out. That is in order only where a send was cut between request and reply.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

ENDS = {"done", "joined"}


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody wrote."""

    key: str
    chat_id: int
    opening: str = ""
    """How its answer begins, where that is known; empty: it is not."""


@dataclass(frozen=True, slots=True)
class PartRow:
    """A piece of an answer as the journal has it."""

    state: str
    text: str
    external_id: str


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A message as the journal has it, with its answer."""

    id: int
    key: str
    lane: str
    state: str
    reason: str
    parts: Sequence[PartRow] = ()


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A message of the bot as its chat shows it at the end."""

    id: int
    chat_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a verdict needs."""

    said: Sequence[Said]
    entries: Sequence[EntryRow]
    shown: Sequence[ShownRow]
    cuts: Mapping[int, int]
    """By chat: sends that the injector cut between request and reply, the process' end included."""
    in_order: bool
    """Whether updates came in the order in which people wrote."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run."""

    faults: Sequence[str]
    answered: int
    ambiguous: int
    cuts: int


@dataclass
class _Chat:
    said: list[Said] = field(default_factory=list)
    shown: dict[int, ShownRow] = field(default_factory=dict)


def judge(facts: Facts) -> Verdict:
    """Every fault in words; none: the run is as it should be."""
    chats: dict[int, _Chat] = {}
    for said in facts.said:
        chats.setdefault(said.chat_id, _Chat()).said.append(said)
    for shown in facts.shown:
        chats.setdefault(shown.chat_id, _Chat()).shown[shown.id] = shown
    entries = {entry.key: entry for entry in facts.entries}
    ambiguous = Counter(
        {
            chat_id: _ambiguous(chat, [entries[s.key] for s in chat.said if s.key in entries])
            for chat_id, chat in chats.items()
        }
    )
    faults = [
        *_unknown_entries(facts),
        *(fault for said in facts.said for fault in _of_entry(said, entries.get(said.key), facts)),
        *_order(facts),
    ]
    for chat_id, chat in chats.items():
        if ambiguous[chat_id] > facts.cuts.get(chat_id, 0):
            cuts = facts.cuts.get(chat_id, 0)
            faults.append(f"chat {chat_id}: {ambiguous[chat_id]} ambiguous messages, {cuts} cuts")
        faults += _twice(chat, facts.cuts.get(chat_id, 0))
    answered = sum(entry.state in ENDS for entry in facts.entries)
    return Verdict(faults, answered, ambiguous.total(), sum(facts.cuts.values()))


def _unknown_entries(facts: Facts) -> Iterator[str]:
    known = {said.key for said in facts.said}
    for entry in facts.entries:
        if entry.key not in known:
            yield f"entry {entry.id}: nobody said {entry.key}"


def _of_entry(said: Said, entry: EntryRow | None, facts: Facts) -> Iterator[str]:
    if entry is None:
        yield f"{said.key}: it was never stored"
        return
    if entry.state not in ENDS:
        yield f"{said.key}: {entry.state} ({entry.reason})"
        return
    if entry.state == "done" and not entry.parts:
        yield f"{said.key}: closed without an answer ({entry.reason})"
    shown = {row.id: row for row in facts.shown if row.chat_id == said.chat_id}
    for part in entry.parts:
        if part.state == "unknown":
            continue
        if part.state != "sent":
            yield f"{said.key}: a part is {part.state}"
        elif (row := shown.get(int(part.external_id))) is None:
            yield f"{said.key}: message {part.external_id} is not there"
        elif row.text != part.text.strip():
            yield f"{said.key}: message {row.id} shows {len(row.text)} characters of {len(part.text)}"


def _ambiguous(chat: _Chat, entries: Sequence[EntryRow]) -> int:
    parts = [part for entry in entries for part in entry.parts]
    known = {int(part.external_id) for part in parts if part.external_id}
    strangers = Counter(row.text for row in chat.shown.values() if row.id not in known)
    unknown = Counter(part.text.strip() for part in parts if part.state == "unknown")
    # One that nobody knows of may be there: that is one send, not two.
    return (strangers | unknown).total()


def _twice(chat: _Chat, cuts: int) -> Iterator[str]:
    """What people see, whatever the journal says."""
    again = 0
    for said in chat.said:
        if said.opening:
            copies = sum(row.text.startswith(said.opening) for row in chat.shown.values())
            again += max(0, copies - 1)
            if copies == 0 and cuts == 0:
                yield f"{said.key}: nobody sees an answer"
    if again > cuts:
        yield f"chat {chat.said[0].chat_id}: {again} answers more than questions, {cuts} cuts"


def _order(facts: Facts) -> Iterator[str]:
    lanes: dict[str, list[EntryRow]] = {}
    for entry in sorted(facts.entries, key=lambda entry: entry.id):
        lanes.setdefault(entry.lane, []).append(entry)
    for lane, entries in lanes.items():
        keys = [int(entry.key) for entry in entries]
        if facts.in_order and keys != sorted(keys):
            yield f"lane {lane}: stored in another order than said"
        out = [int(part.external_id) for entry in entries for part in entry.parts if part.external_id]
        if any(later < earlier for earlier, later in itertools.pairwise(out)):
            yield f"lane {lane}: answers went out in another order than questions came in: {out}"
