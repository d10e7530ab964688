"""A conversation as it is kept, and how it grows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from ai_core.engine.messages import ChatMessage
from ai_core.inference.sessions.trimming import turns_to_drop

FIRST_GUESS = 0.5
"""Tokens per character before anything was counted: more than most languages have."""
MESSAGE_CHARACTERS = 16
"""What a template puts around a message, as if it were text."""
MOST_FOR_ANSWER = 4
"""At least three quarters of the context are for the conversation, however long an answer may become."""

Turn = list[ChatMessage]
"""What was said from one word of the user's to the next one, answers and results of functions included."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds since 1970."""

    session_id: str
    created_at: float
    updated_at: float
    instructions: list[ChatMessage] = []
    turns: list[Turn] = []
    dropped: int = 0
    """Turns that were taken away because they did not fit any more."""
    tokens_per_character: float = FIRST_GUESS
    """As counted at the last answer."""
    context_length: int = 0
    """Of the model that answered last, in tokens; 0: not known yet."""

    @property
    def messages(self) -> list[ChatMessage]:
        """What the model reads."""
        return [*self.instructions, *(message for turn in self.turns for message in turn)]

    def with_new(self, messages: Sequence[ChatMessage]) -> Conversation:
        """With what the caller says now. Instructions at its beginning replace those of before."""
        begin = 0
        while begin < len(messages) and messages[begin].role == "system":
            begin += 1
        return msgspec.structs.replace(
            self,
            instructions=list(messages[:begin]) or self.instructions,
            turns=_extended(self.turns, messages[begin:]),
        )

    def answered(self, answer: ChatMessage, prompt_tokens: int, now: float) -> Conversation:
        """With the answer to it, for which ``prompt_tokens`` were read."""
        characters = size_of(self.messages)
        return msgspec.structs.replace(
            self,
            turns=_extended(self.turns, [answer]),
            tokens_per_character=max(prompt_tokens, 1) / characters if characters else FIRST_GUESS,
            updated_at=now,
        )

    def without_oldest(self, count: int) -> Conversation:
        """With so many turns fewer at the front."""
        return msgspec.structs.replace(self, turns=self.turns[count:], dropped=self.dropped + count)

    def surplus(self, max_tokens: int, max_turns: int) -> int:
        """How many turns to take away so that it fits. The last one, which is new, always stays.

        Args:
            max_tokens: the most that the answer may have.
            max_turns: the most to keep, the new one included.
        """
        length = self.context_length
        budget = length - min(max_tokens, length // MOST_FOR_ANSWER) if length else math.inf
        *before, new = self.turns or [[]]
        return turns_to_drop(
            [self._tokens(turn) for turn in before],
            fixed=self._tokens(self.instructions) + self._tokens(new),
            budget=int(min(budget, 2**62)),
            max_turns=max_turns - 1,
        )

    def _tokens(self, messages: Iterable[ChatMessage]) -> int:
        return math.ceil(size_of(messages) * self.tokens_per_character)


def size_of(messages: Iterable[ChatMessage]) -> int:
    """Characters of messages, with what a template puts around them."""
    return sum(
        MESSAGE_CHARACTERS
        + len(message.content)
        + sum(len(call.name) + len(call.arguments) + MESSAGE_CHARACTERS for call in message.tool_calls)
        for message in messages
    )


def _extended(turns: Sequence[Turn], messages: Sequence[ChatMessage]) -> list[Turn]:
    """A turn begins with each word of the user's that does not follow another one."""
    extended = [list(turn) for turn in turns]
    last = extended[-1][-1].role if extended and extended[-1] else ""
    for message in messages:
        if not extended or (message.role == "user" and last != "user"):
            extended.append([])
        extended[-1].append(message)
        last = message.role
    return extended
