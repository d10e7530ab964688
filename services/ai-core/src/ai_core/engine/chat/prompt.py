"""From messages to token ids, so that what people write never becomes a control token.

A template's own ``<|im_start|>`` must become a control token, but the same text inside a message must
not: a user could otherwise end their turn and speak as the system. So a conversation is rendered twice,
as it is and *guarded*: with marks (private-use characters that occur nowhere else) inside every control
text that a message contains, and around what each message says. If both renderings have the same control
texts, all of them are the template's own, and the plain text is encoded in one call. If not, a message
has a control text in it, or makes one together with the template's text beside it, or with another
message. Then the guarded text is cut at the marks and encoded in pieces: the model still reads all of it,
as ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from ai_core.engine.backends.port import Vocabulary
from ai_core.engine.chat.template import ChatTemplate, TemplateError
from ai_core.engine.messages import ChatMessage

_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


def encode_raw(vocabulary: Vocabulary, prompt: str) -> list[int]:
    """Token ids of a raw prompt; the texts of control tokens stay text."""
    return vocabulary.encode(prompt, add_bos=True, parse_special=False)


def encode_chat(template: ChatTemplate, vocabulary: Vocabulary, messages: list[ChatMessage]) -> list[int]:
    """Token ids of a conversation.

    A control text of a single character cannot be broken; such a character is encoded by itself.

    Raises:
        TemplateError: the template refuses the messages.
    """
    controls = _controls(vocabulary.control_texts)
    plain = template.render(messages)
    marks = _unused_marks(plain, messages)
    guarded = template.render(
        [ChatMessage(message.role, _guard(message.content, controls, marks)) for message in messages]
    )
    return _encode(vocabulary, template.bos_text, _pieces(plain, guarded, controls, marks))


@dataclass(frozen=True, slots=True)
class _Marks:
    inside: str
    """Cuts a control text inside a message in two."""
    edge: str
    """Stands before and behind what a message says."""
    literal: str
    """The next character is encoded by itself, and not as a control token."""

    def remove(self, text: str) -> str:
        return re.sub(f"[{self.inside}{self.edge}{self.literal}]", "", text)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    parse_special: bool = True


class _Controls:
    """Finds control texts. White space alone commands nothing, so it is not counted among them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = frozenset(text for text in texts if text.strip())
        self._lengths: dict[str, list[int]] = {}
        for text in self._texts:
            self._lengths.setdefault(text[:2], []).append(len(text))
        self._lengths = {opening: sorted(set(lengths)) for opening, lengths in self._lengths.items()}
        first = "".join(sorted({re.escape(text[0]) for text in self._texts}))
        self._opening = re.compile(f"[{first}]") if first else None

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """Where control texts begin, overlapping ones included, by position and length."""
        if self._opening is None:
            return
        for match in self._opening.finditer(text):
            start = match.start()
            for opening in {text[start], text[start : start + 2]}:
                for length in self._lengths.get(opening, ()):
                    found = text[start : start + length]
                    if found in self._texts:
                        yield start, found

    def sequence(self, pieces: Iterable[_Piece]) -> list[str]:
        """The control texts in pieces that are encoded one by one."""
        return [found for piece in pieces if piece.parse_special for _, found in self.find(piece.text)]


@lru_cache(maxsize=4)
def _controls(texts: frozenset[str]) -> _Controls:
    """A vocabulary has up to thousands of control texts: they are sorted once."""
    return _Controls(texts)
