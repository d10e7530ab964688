"""What the model is asked: pure functions of a conversation and of somebody's choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from servicekit.ai_core.requests import ChatRequest, Message
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


def chat_request(
    persona: Persona,
    turns: Sequence[Turn],
    question: str,
    *,
    settings: UserSettings,
    language: Language,
    user: str,
    strain: Strain = Strain.NONE,
) -> ChatRequest:
    """The system prompt, the newest turns that fit, and the question.

    Args:
        turns: of this conversation, oldest first; those without an answer are left out.
        user: a pseudonym of who asks, so that the AI core treats people fairly.
    """
    answered = [turn for turn in turns if turn.answer]
    messages = [Message("system", persona.system[language])]
    for turn in recent(answered, most_turns=persona.most_turns, most_characters=persona.most_characters):
        messages += [Message("user", turn.question), Message("assistant", turn.answer)]
    length = settings.length if strain < Strain.SHORT_ANSWERS else Length.SHORT
    return ChatRequest(
        messages=[*messages, Message("user", question)],
        model=settings.model or persona.model,
        max_tokens=MAX_TOKENS[length],
        temperature=TEMPERATURE[settings.creativity],
        user=user,
    )
