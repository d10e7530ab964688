"""From messages to token ids, so that what people write never becomes a control token.

A template's own ``<|im_start|>`` must become a control token, but the same text inside a message must
not: a user could otherwise end their turn and speak as the system. So a conversation is rendered twice,
as it is and *guarded*: with marks (private-use characters that occur nowhere else) inside every control
text that a message contains, and around what each message says. If both renderings have the same control
texts, all of them are the template's own, and the plain text is encoded in one call. If not, a message
has a control text in it, or makes one together with the template's text beside it, or with another
message. Then the guarded text is cut at the marks and encoded in pieces: the model still reads all of it,
as ordinary text. Tools, arguments and thoughts are guarded as messages are.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

from ai_core.engine.backends.port import Vocabulary
from ai_core.engine.chat.conversation import as_tools, texts_in
from ai_core.engine.chat.template import ChatTemplate, TemplateError
from ai_core.engine.messages import ChatMessage, Tool

_SAID = ("content", "reasoning_content")
"""What of a turn may be anything. Roles, names and ids are words: the API takes nothing else there."""
_WORD = re.compile(r"[A-Za-z0-9_.$/-]*")
_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


def encode_raw(vocabulary: Vocabulary, prompt: str) -> list[int]:
    """Token ids of a raw prompt; the texts of control tokens stay text."""
    return vocabulary.encode(prompt, add_bos=True, parse_special=False)


def encode_chat(
    template: ChatTemplate,
    vocabulary: Vocabulary,
    messages: Sequence[ChatMessage],
    *,
    tools: Sequence[Tool] = (),
    variables: Mapping[str, bool | int | float | str] = MappingProxyType({}),
    begin: Callable[[str], str] = lambda _prompt: "",
    limit: int | None = None,
) -> list[int]:
    """Token ids of a conversation.

    A control text of a single character cannot be broken; such a character is encoded by itself. White
    space at the ends of a message is outside the guard, so that templates can trim it.

    Args:
        tools: functions that the template shows to the model.
        variables: what the template is told beside.
        begin: the beginning of the answer that the model is to continue, decided by what the template wrote.
        limit: whoever has more tokens than this is too long anyway: encoding may stop there.

    Raises:
        TemplateError: the template refuses the messages.
    """
    controls = _controls(vocabulary.control_texts)
    conversation, functions = template.conversation(messages), as_tools(tools)
    plain = template.render_conversation(conversation, functions, variables)
    beginning = begin(plain)
    marks = _unused_marks([plain, *texts_in(conversation), *texts_in(functions)])
    guard = partial(_guard, controls=controls, marks=marks)
    guarded = template.render_conversation(
        [_guarded_turn(turn, guard) for turn in conversation],
        _guarded(functions, guard, partial(_unless_word, guard=guard)),
        variables,
    )
    pieces = _fewest_pieces(plain + beginning, guarded + beginning, controls, marks)
    return _encode(vocabulary, template.bos_text, pieces, limit)


@dataclass(frozen=True, slots=True)
class _Marks:
    inside: str
    """Cuts a control text inside a message in two."""
    literal: str
    """The next character is a control text: it is encoded by itself, as text."""
    edge: str
    """Stands before and behind what a message says."""

    def cut(self, text: str) -> list[_Piece]:
        """The pieces between the marks; the first one may be empty."""
        between = re.split(f"[{self.inside}{self.edge}]|{self.literal}(.?)", text, flags=re.DOTALL)
        pieces = [_Piece(part or "", parse_special=index % 2 == 0) for index, part in enumerate(between)]
        return pieces[:1] + [piece for piece in pieces[1:] if piece.text]

    def remove(self, text: str) -> str:
        """The text without marks."""
        return re.sub(f"[{self.inside}{self.literal}{self.edge}]", "", text)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    parse_special: bool = True


class _Controls:
    """Finds control texts. White space alone commands nothing, so it is not counted among them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = frozenset(text for text in texts if text.strip())
        lengths: dict[str, set[int]] = {}
        for text in self._texts:
            lengths.setdefault(text[:2], set()).add(len(text))
        self._lengths = {opening: sorted(found) for opening, found in lengths.items()}
        first = "".join(sorted({re.escape(text[0]) for text in self._texts}))
        self._first = re.compile(f"[{first}]" if first else "(?!)")

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Beginning and length of every control text in a text, overlapping ones included."""
        for match in self._first.finditer(text):
            start = match.start()
            for length in self._possible_lengths(text[start : start + 2]):
                if start + length <= len(text) and text[start : start + length] in self._texts:
                    yield start, length

    def count(self, pieces: Iterable[_Piece]) -> int:
        """How many there are in pieces that are encoded one by one."""
        return sum(1 for piece in pieces if piece.parse_special for _ in self.find(piece.text))

    def _possible_lengths(self, opening: str) -> Sequence[int]:
        lengths = self._lengths.get(opening, ())
        return [1, *lengths] if len(opening) == 2 and opening[0] in self._lengths else lengths


@lru_cache(maxsize=4)
def _controls(texts: frozenset[str]) -> _Controls:
    """A vocabulary has up to thousands of control texts: they are sorted once."""
    return _Controls(texts)


def _unused_marks(texts: Iterable[str]) -> _Marks:
    used = set[str]().union(*texts)
    unused = (chr(code) for codes in _PRIVATE_USE for code in codes if chr(code) not in used)
    marks = list(itertools.islice(unused, 3))
    if len(marks) < 3:
        raise TemplateError("the messages use all private-use characters of Unicode")
    return _Marks(*marks)


def _guarded_turn(turn: dict[str, Any], guard: Callable[[str], str]) -> dict[str, Any]:
    guarded: dict[str, Any] = {key: guard(turn[key]) for key in _SAID if isinstance(turn.get(key), str)}
    if "tool_calls" in turn:
        guarded["tool_calls"] = [_guarded_call(call, guard) for call in turn["tool_calls"]]
    return turn | guarded


def _guarded_call(call: dict[str, Any], guard: Callable[[str], str]) -> dict[str, Any]:
    function = call["function"]
    return call | {"function": function | {"arguments": _guarded(function["arguments"], guard, guard)}}


def _guarded(value: Any, guard: Callable[[str], str], guard_entry: Callable[[str], str]) -> Any:
    """All texts inside a value that could be written as JSON."""
    match value:
        case str():
            return guard_entry(value)
        case list():
            return [_guarded(entry, guard, guard_entry) for entry in value]
        case dict():
            return {
                _unless_word(key, guard): _guarded(entry, guard, guard_entry) for key, entry in value.items()
            }
    return value


def _unless_word(text: str, guard: Callable[[str], str]) -> str:
    """Templates compare the words that name types and properties, so they get no marks around them."""
    return text if _WORD.fullmatch(text) else guard(text)


def _guard(content: str, controls: _Controls, marks: _Marks) -> str:
    """A message with marks inside its control texts and around what it says."""
    before = len(content) - len(content.lstrip())
    behind = len(content.rstrip())
    if behind <= before:
        return content
    inserted = {before: marks.edge, behind: marks.edge}
    for start, length in controls.find(content):
        place, mark = (start, marks.literal) if length == 1 else (start + 1, marks.inside)
        here = inserted.get(place, "")
        if mark not in here:
            # A literal mark comes last, directly before its character: it is found after those
            # that the control texts which begin further left put here.
            inserted[place] = here + mark
    places = sorted(inserted)
    parts = [content[: places[0]]]
    for place, following in itertools.pairwise([*places, len(content)]):
        parts += (inserted[place], content[place:following])
    return "".join(parts)


def _fewest_pieces(plain: str, guarded: str, controls: _Controls, marks: _Marks) -> list[_Piece]:
    """The coarsest cut that has no control text which the finest one has not: cuts cost tokens."""
    finest = marks.cut(guarded)
    own = controls.count(finest)
    # A template that looks at the beginning of a message may render the guarded one differently.
    if marks.remove(guarded) == plain and controls.count([_Piece(plain)]) == own:
        return [_Piece(plain)]
    without_edges = marks.cut(guarded.replace(marks.edge, ""))
    return without_edges if controls.count(without_edges) == own else finest


def _encode(vocabulary: Vocabulary, bos_text: str, pieces: list[_Piece], limit: int | None) -> list[int]:
    has_bos = bool(bos_text) and pieces[0].text.startswith(bos_text)
    tokens = vocabulary.encode(pieces[0].text, add_bos=not has_bos, parse_special=True)
    for piece in pieces[1:]:
        if limit is not None and len(tokens) > limit:
            break
        tokens += vocabulary.encode(piece.text, add_bos=False, parse_special=piece.parse_special)
    return tokens
