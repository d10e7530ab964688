"""What the model is asked: pure functions of a conversation and of somebody's choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from servicekit.ai_core.requests import ChatRequest, Message
from telegram_service.dialogue.documents import LEAST_CHARACTERS, in_reach
from telegram_service.dialogue.history import Turn, recent
from telegram_service.dialogue.incoming import Language
from telegram_service.dialogue.settings import MAX_TOKENS, TEMPERATURE, Length, UserSettings


class Strain(IntEnum):
    """How much the service has to do; each step takes away a little more comfort."""

    NONE = 0
    SHORT_ANSWERS = 1
    NO_EDITS = 2
    """Answers are short, and each is shown once, when it is complete."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Messages that wait, from which on comfort is taken away."""

    short_answers: int
    no_edits: int

    @property
    def highest(self) -> int:
        """More than these need not be counted."""
        return max(self.short_answers, self.no_edits)


def strain_of(waiting: int, thresholds: Thresholds) -> Strain:
    """The strain of so many messages that wait."""
    if waiting >= thresholds.no_edits:
        return Strain.NO_EDITS
    return Strain.SHORT_ANSWERS if waiting >= thresholds.short_answers else Strain.NONE


@dataclass(frozen=True, slots=True)
class Persona:
    """What the model is told about itself, by the language of the answer, and how far back it remembers."""

    system: Mapping[Language, str]
    most_turns: int
    most_characters: int
    model: str | None = None
    """For those who have chosen none; None: the AI core's default."""
    most_document_characters: int = 8_000
    """Of all documents of a conversation together."""


def with_less(persona: Persona, turns: Sequence[Turn], document: str) -> tuple[Persona, list[Turn]] | None:
    """What to ask with when there was more than the model can read: without the older half of the turns, or
    else with half as much of the documents; None: there is nothing to be left out.

    Args:
        turns: oldest first; a turn that is left out stays as one without an answer, for its document's sake.
        document: what was sent with the question.
    """
    answered = [number for number, turn in enumerate(turns) if turn.answer]
    if answered:
        last = answered[len(answered) // 2]
        rest = turns[last + 1 :]
        return persona, [*(replace(turn, answer="") for turn in turns[: last + 1]), *rest]
    there_is = sum(len(one.document) for one in turns) + len(document)
    room = min(persona.most_document_characters, there_is) // 2
    if room < LEAST_CHARACTERS:
        return None
    return replace(persona, most_document_characters=room), list(turns)


def chat_request(
    persona: Persona,
    turns: Sequence[Turn],
    question: str,
    *,
    document: str = "",
    settings: UserSettings,
    language: Language,
    user: str,
    strain: Strain = Strain.NONE,
) -> ChatRequest:
    """The system prompt, the newest turns that fit, and the question.

    Documents stay when the turn that they came with is left out, for later questions are about them, too.

    Args:
        turns: of this conversation, oldest first; of those without an answer, only documents are read.
        document: what was sent with the question, as in ``Turn.document``.
        user: a pseudonym of who asks, so that the AI core treats people fairly.
    """
    everything = [*turns, Turn(question, "", document)]
    read = in_reach([turn.document for turn in everything], persona.most_document_characters)
    *before, last = (replace(turn, document=seen) for turn, seen in zip(everything, read, strict=True))
    kept = recent(
        [turn for turn in before if turn.answer],
        most_turns=persona.most_turns,
        most_characters=persona.most_characters,
    )
    left_out = [turn for turn in before if not any(turn is one for one in kept)]
    messages = [Message("system", persona.system[language])]
    texts = [turn.document for turn in left_out]
    for turn in [*kept, last]:
        asked = "\n\n".join(filter(None, [*texts, turn.document, turn.question]))
        messages += [Message("user", asked), Message("assistant", turn.answer)]
        texts = []
    length = settings.length if strain < Strain.SHORT_ANSWERS else Length.SHORT
    return ChatRequest(
        # The answer to the last question is the model's.
        messages=messages[:-1],
        model=settings.model or persona.model,
        max_tokens=MAX_TOKENS[length],
        temperature=TEMPERATURE[settings.creativity],
        user=user,
    )
