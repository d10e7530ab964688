"""From a document to messages that Telegram takes: by its size, counted as it counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from telegram_service.formatting.document import Block, Run, Style

MAX_UNITS = 4096
"""UTF-16 code units of one message's text (https://core.telegram.org/bots/api#sendmessage)."""
MAX_ENTITIES = 100
"""Telegram shows about so many entities of one message, and forgets the rest."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of a message with a look of its own; offset and length in UTF-16 code units."""

    style: Style
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class TelegramMessage:
    """The text of one message, without spaces at its ends, and its entities, outer ones first."""

    text: str
    entities: tuple[Entity, ...] = ()


def units(text: str) -> int:
    """The length of a text in UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def to_messages(
    document: Iterable[Block], *, max_units: int = MAX_UNITS, max_entities: int = MAX_ENTITIES
) -> list[TelegramMessage]:
    """All of a document, in as few messages as its blocks allow.

    A block that fits in one message is not divided. A larger one is cut between lines, else between words,
    else between characters, and its formatting goes on in the next message. What bears more styles than a
    message may have entities keeps the outer ones.

    Args:
        max_units: 2 or more.
        max_entities: 1 or more.
    """
    messages: list[list[Run]] = []
    for block in document:
        runs = [Run(run.text, run.styles[:max_entities]) for run in block.runs]
        joined = [*messages[-1], Run(block.gap), *runs] if messages else runs
        if messages and _fits(joined, max_units, max_entities):
            messages[-1] = joined
        else:
            messages += _pieces(runs, max_units, max_entities)
    return [message for message in map(_message, messages) if message.text]


def _fits(runs: Sequence[Run], max_units: int, max_entities: int) -> bool:
    return sum(units(run.text) for run in runs) <= max_units and _entity_count(runs) <= max_entities


def _entity_count(runs: Sequence[Run]) -> int:
    return len(_message(runs).entities)


def _pieces(runs: Sequence[Run], max_units: int, max_entities: int) -> Iterator[list[Run]]:
    """A block in pieces that fit, spaces at the cuts left out."""
    rest = list(runs)
    while rest and not _fits(rest, max_units, max_entities):
        head = _as_many_as_fit(rest, max_units, max_entities)
        cut = _cut(head)
        first, rest = _split(rest, cut)
        yield first
        rest = _without_leading_spaces(rest)
    if rest:
        yield rest


def _as_many_as_fit(runs: Sequence[Run], max_units: int, max_entities: int) -> str:
    """The longest text from the beginning that may be one message."""
    taken: list[Run] = []
    room = max_units
    for run in runs:
        text = _first_units(run.text, room)
        if _entity_count([*taken, Run(text, run.styles)]) > max_entities:
            break
        taken.append(Run(text, run.styles))
        room -= units(text)
        if len(text) < len(run.text):
            break
    return "".join(run.text for run in taken)


def _first_units(text: str, room: int) -> str:
    """As much of a text as there is room for; no character is cut in two."""
    end = min(len(text), room)
    while units(text[:end]) > room:
        end -= max(1, (units(text[:end]) - room) // 2)
    return text[:end]


def _cut(head: str) -> int:
    """Where to cut a text of which no more fits: after a line, else after a word, unless little is left."""
    for separator in ("\n", " "):
        place = head.rfind(separator)
        if place >= len(head) // 4 and head[:place].strip():
            return place
    return max(1, len(head))


def _split(runs: Sequence[Run], place: int) -> tuple[list[Run], list[Run]]:
    before: list[Run] = []
    after: list[Run] = []
    for run in runs:
        here = max(0, min(len(run.text), place))
        before += [Run(run.text[:here], run.styles)] if here else []
        after += [Run(run.text[here:], run.styles)] if here < len(run.text) else []
        place -= len(run.text)
    return before, after


def _without_leading_spaces(runs: Sequence[Run]) -> list[Run]:
    rest = list(runs)
    while rest and not rest[0].text.strip():
        rest.pop(0)
    if rest:
        # After a line break, what is left is the indentation of a line of code.
        spaces = "\n" if rest[0].text.startswith("\n") else " "
        rest[0] = Run(rest[0].text.lstrip(spaces), rest[0].styles)
    return rest


def _message(runs: Sequence[Run]) -> TelegramMessage:
    text = "".join(run.text for run in runs)
    start = units(text[: len(text) - len(text.lstrip())])
    end = units(text.rstrip())
    entities = [
        Entity(style, max(start, since) - start, min(end, until) - max(start, since))
        for style, since, until in _stretches(runs)
        if max(start, since) < min(end, until)
    ]
    # Of two that begin together, the longer one is around the other.
    entities.sort(key=lambda entity: (entity.offset, -entity.length))
    return TelegramMessage(text.strip(), tuple(entities))


def _stretches(runs: Sequence[Run]) -> Iterator[tuple[Style, int, int]]:
    """Each style with where it begins and ends. Of two that overlap, one is within the other: where an outer
    one ends, the inner ones end, too, and begin anew."""
    standing: list[tuple[Style, int]] = []
    position = 0
    for run in (*runs, Run("")):
        kept = 0
        while kept < min(len(standing), len(run.styles)) and standing[kept][0] == run.styles[kept]:
            kept += 1
        yield from ((style, since, position) for style, since in standing[kept:])
        standing[kept:] = [(style, position) for style in run.styles[kept:]]
        position += units(run.text)
