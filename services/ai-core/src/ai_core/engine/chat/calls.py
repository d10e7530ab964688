"""From a model's text to function calls, piece by piece.

What turns out to be no call stays text, to the last character. A call is announced when its name is known
and its arguments begin; from then on it stays a call, and its arguments are what the model wrote, valid
JSON or not. White space around calls belongs to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ai_core.engine.chat.call_forms import (
    ARGUMENTS_MARK,
    END_TAG,
    ID_MARK,
    LIST_MARK,
    PYTHON_TAG,
    TAG,
    CallForm,
    Family,
)
from ai_core.engine.chat.stream import Ended, Inlet, Reading
from ai_core.engine.messages import CallPiece

Segment = str | CallPiece
"""Text, or a piece of a call, in the order in which they were written."""

_SPACE = " \t\r\n"
_ARGUMENT_KEYS = frozenset({"arguments", "parameters"})
_BARE_KEYS = _ARGUMENT_KEYS | {"name", "type"}
"""An object at the beginning of an answer may be meant as text: only these keys make it a call."""
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_LONGEST_NAME = 256


class _NoCall(Exception):
    """This only looked like a call."""


class _Cut(Exception):
    """A mark stands where a call was to go on."""


class CallParser:
    """Finds the calls in one answer.

    Args:
        form: how this model writes calls.
        names: the functions there are. A call without any mark is one only if it calls one of them.
        most: calls after which the rest is not looked at any more; None: all.
    """

    def __init__(self, form: CallForm, names: Iterable[str], most: int | None = None) -> None:
        self.begun = 0
        """Calls that were announced."""
        self.complete = 0
        """Those of them whose arguments are complete."""
        self._names = frozenset(names)
        self._most = most
        self._inlet = Inlet()
        self._segments: list[Segment] = []
        self._sent: int | None = None
        """While arguments stream: the place up to which they have been sent."""
        self._marks: tuple[str, ...] = ()
        """Texts that cannot be a part of what is being read."""
        readers = {Family.TAGGED: self._tagged, Family.BARE: self._bare, Family.LISTED: self._listed}
        self._reader = readers[form.family]()
        next(self._reader)

    @property
    def satisfied(self) -> bool:
        """As many calls as are wanted are complete."""
        return self._most is not None and self.complete >= self._most

    def push(self, text: str) -> list[Segment]:
        """Read on; returns what is certain now."""
        if text:
            self._inlet.feed(text)
            if self._sent is not None:
                self._sent = self._inlet.at
        return self._advance()

    def finish(self) -> list[Segment]:
        """The answer is over: what was held back."""
        self._inlet.close()
        return self._advance()

    def _advance(self) -> list[Segment]:
        if not self.satisfied:
            next(self._reader, None)
        self._send_arguments()
        segments, self._segments = self._segments, []
        return segments

    # --- the families -----------------------------------------------------------------------------

    def _tagged(self) -> Reading[None]:
        yield from self._leading_space((TAG,))
        while (yield from self._text_until(TAG)):
            yield from self._attempt(self._tagged_call(), (END_TAG, TAG))

    def _tagged_call(self) -> Reading[None]:
        self._inlet.take(len(TAG))
        yield from self._object()
        # Small models close one bracket too many.
        yield from self._inlet.skip(_SPACE + "}")
        yield from self._skip_end_tag()

    def _bare(self) -> Reading[None]:
        yield from self._leading_space((PYTHON_TAG, "{"))
        if (yield from self._inlet.stands_here("{")):
            yield from self._attempt(self._bare_calls(), (PYTHON_TAG,))
        while (yield from self._text_until(PYTHON_TAG)):
            yield from self._attempt(self._marked_calls(), (PYTHON_TAG,))

    def _marked_calls(self) -> Reading[None]:
        self._inlet.take(len(PYTHON_TAG))
        yield from self._bare_calls()

    def _bare_calls(self) -> Reading[None]:
        yield from self._object(bare=True)
        while (yield from self._inlet.skip(_SPACE)):
            self._inlet.kept = self._inlet.at
            if (yield from self._inlet.stands_here(";")):
                self._inlet.take(1)
            yield from self._object(bare=True)

    def _listed(self) -> Reading[None]:
        yield from self._leading_space((LIST_MARK,))
        while (yield from self._text_until(LIST_MARK)):
            yield from self._attempt(self._list_or_named(), (LIST_MARK,))

    def _list_or_named(self) -> Reading[None]:
        self._inlet.take(len(LIST_MARK))
        if (yield from self._after_space()) != "[":
            yield from self._named_call()
            return
        self._inlet.take(1)
        yield from self._object()
        while (yield from self._after_space()) == ",":
            self._inlet.kept = self._inlet.at
            self._inlet.take(1)
            yield from self._object()
        if (yield from self._character()) == "]":
            self._inlet.take(1)

    def _named_call(self) -> Reading[None]:
        name = ""
        while (yield from self._character()) in _NAME_CHARACTERS and len(name) < _LONGEST_NAME:
            name += self._inlet.take(1)
        if (yield from self._inlet.stands_here(ID_MARK)):
            self._inlet.take(len(ID_MARK))
            while (yield from self._character()) != "[":
                self._inlet.take(1)
        if not name or not (yield from self._inlet.stands_here(ARGUMENTS_MARK)):
            raise _NoCall
        self._inlet.take(len(ARGUMENTS_MARK))
        if (yield from self._after_space()) != "{":
            raise _NoCall
        yield from self._stream_arguments(name)

    # --- text, and what may be a call -------------------------------------------------------------

    def _leading_space(self, marks: tuple[str, ...]) -> Reading[None]:
        """White space at the beginning is kept until it is clear whether a text or a call follows."""
        self._inlet.kept = self._inlet.at
        yield from self._inlet.skip(_SPACE)
        for mark in marks:
            if (yield from self._inlet.stands_here(mark)):
                return
        self._give_up()

    def _text_until(self, mark: str) -> Reading[bool]:
        """Pass text on. True: the mark comes next; False: nothing comes any more."""
        while (yield from self._inlet.more()):
            self._say(self._inlet.take_until(mark[0]))
            if (yield from self._inlet.more()):
                if (yield from self._inlet.stands_here(mark)):
                    return True
                self._say(self._inlet.take(1))
        return False

    def _attempt(self, reader: Reading[None], marks: tuple[str, ...]) -> Reading[None]:
        """Read calls; what has not become one is text. ``marks`` end an attempt wherever they stand, so
        that no character is looked at more often than there are marks."""
        begun = self.begun
        self._marks = marks
        if self._inlet.kept is None:
            self._inlet.kept = self._inlet.at
        try:
            yield from reader
        except (_NoCall, _Cut, Ended):
            self._send_arguments()
            self._sent = None
            if not self._give_up() and END_TAG in marks:
                yield from self._skip_end_tag()
        self._inlet.kept = None
        if self.begun > begun:
            yield from self._inlet.skip(_SPACE)

    def _skip_end_tag(self) -> Reading[None]:
        if (yield from self._inlet.stands_here(END_TAG)):
            self._inlet.take(len(END_TAG))

    def _give_up(self) -> bool:
        """What was kept is text. False: nothing was, because a call was announced."""
        if self._inlet.kept is None:
            return False
        self._say(self._inlet.text[self._inlet.kept : self._inlet.at])
        self._inlet.kept = None
        return True

    def _say(self, text: str) -> None:
        if text and self._segments and isinstance(self._segments[-1], str):
            self._segments[-1] += text
        elif text:
            self._segments.append(text)

    # --- one call ---------------------------------------------------------------------------------

    def _object(self, *, bare: bool = False) -> Reading[None]:
        """``{"name": …, "arguments": {…}}``, in any order and with further entries."""
        name = arguments = None
        yield from self._expect("{")
        while (yield from self._after_space()) != "}":
            key = yield from self._key()
            if bare and key not in _BARE_KEYS:
                raise _NoCall
            yield from self._expect(":")
            first = yield from self._after_space()
            if key == "name":
                name = self._checked_name((yield from self._held(self._value())), known=bare)
            elif key not in _ARGUMENT_KEYS:
                yield from self._value()
            elif name is not None and first == "{":
                yield from self._stream_arguments(name)
                yield from self._rest_of_object()
                return
            else:
                arguments = yield from self._held(self._value())
            if (yield from self._after_space()) == ",":
                self._inlet.take(1)
        self._inlet.take(1)
        if name is None or (bare and arguments is None):
            raise _NoCall
        self._announce(name, _plain(arguments))
        yield from self._count_complete()

    def _stream_arguments(self, name: str) -> Reading[None]:
        self._announce(name)
        marks, self._marks = self._marks, tuple(mark for mark in self._marks if mark == END_TAG)
        self._sent = self._inlet.at
        yield from self._value()
        self._send_arguments()
        self._sent = None
        self._marks = marks
        yield from self._count_complete()

    def _rest_of_object(self) -> Reading[None]:
        while (yield from self._after_space()) == ",":
            self._inlet.take(1)
            yield from self._expect('"', read=False)
            yield from self._string()
            yield from self._expect(":")
            yield from self._after_space()
            yield from self._value()
        yield from self._expect("}")

    def _announce(self, name: str, arguments: str = "") -> None:
        """From here on it is a call."""
        self._segments.append(CallPiece(self.begun, name, arguments))
        self.begun += 1
        self._inlet.kept = None

    def _send_arguments(self) -> None:
        if self._sent is not None and self._inlet.at > self._sent:
            piece = self._inlet.text[self._sent : self._inlet.at]
            self._segments.append(CallPiece(self.begun - 1, "", piece))
            self._sent = self._inlet.at

    def _count_complete(self) -> Reading[None]:
        self.complete += 1
        while self.satisfied:
            yield

    def _checked_name(self, written: str, *, known: bool) -> str:
        name = _string_in(written)
        if not name or len(name) > _LONGEST_NAME or (known and name not in self._names):
            raise _NoCall
        return name

    # --- JSON, as far as it has to be understood --------------------------------------------------

    def _character(self) -> Reading[str]:
        """The next character, not yet read. Raises _Cut, Ended."""
        character = yield from self._inlet.peek()
        for mark in self._marks:
            if character == mark[0] and (yield from self._inlet.stands_here(mark)):
                raise _Cut
        return character

    def _after_space(self) -> Reading[str]:
        yield from self._inlet.skip(_SPACE)
        return (yield from self._character())

    def _expect(self, expected: str, *, read: bool = True) -> Reading[None]:
        if (yield from self._after_space()) != expected:
            raise _NoCall
        if read:
            self._inlet.take(1)

    def _key(self) -> Reading[str]:
        yield from self._expect('"', read=False)
        return _string_in((yield from self._held(self._string())))

    def _held(self, reader: Reading[None]) -> Reading[str]:
        """The text that this reads. Only before a call is announced: everything is kept then."""
        assert self._inlet.kept is not None
        before = self._inlet.at - self._inlet.kept
        yield from reader
        return self._inlet.text[self._inlet.kept + before : self._inlet.at]

    def _value(self) -> Reading[None]:
        """One value. Only brackets and strings are followed: what is between them may be no JSON."""
        first = yield from self._character()
        if first == '"':
            yield from self._string()
        elif first in "{[":
            yield from self._nested()
        elif first in ",:}]":
            raise _NoCall
        else:
            while (yield from self._character()) not in ",}]" + _SPACE:
                self._inlet.take(1)

    def _nested(self) -> Reading[None]:
        depth = 0
        while True:
            character = yield from self._character()
            if character == '"':
                yield from self._string()
                continue
            self._inlet.take(1)
            depth += (character in "{[") - (character in "}]")
            if depth == 0:
                return

    def _string(self) -> Reading[None]:
        self._inlet.take(1)
        while (character := (yield from self._character())) != '"':
            self._inlet.take(1)
            if character == "\\":
                yield from self._character()
                self._inlet.take(1)
        self._inlet.take(1)


def _string_in(written: str) -> str:
    try:
        value = json.loads(written, strict=False)
    except ValueError:
        raise _NoCall from None
    if not isinstance(value, str):
        raise _NoCall
    return value


def _plain(written: str | None) -> str:
    """Arguments that were not written as an object: none at all, or the object's text inside a string."""
    if written is None or written == "null":
        return "{}"
    if not written.startswith('"'):
        return written
    try:
        return str(json.loads(written, strict=False))
    except ValueError:
        return written
