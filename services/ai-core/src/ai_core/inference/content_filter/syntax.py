"""The form of a pattern: what of Python's regular expressions is understood, as a tree. Pure."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

MAX_LENGTH = 256
"""Characters that a match may have: so much text may have to be held back."""
_MAX_DEPTH = 32
_CLASSES = frozenset("dDwWsS")
_CHARACTERS = frozenset("tnrfvxuU")
"""Escapes that stand for one character."""
_SPECIAL = frozenset("^$*+?{}[]|()")
_COUNT = re.compile(r"\{(\d{0,9})(,?)(\d{0,9})\}")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)


class PatternError(Exception):
    """A pattern cannot be used; the text says why and what to write instead."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One character out of a set."""

    accepts: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Border:
    """No character: the beginning or end of a word."""


@dataclass(frozen=True, slots=True)
class Row:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One of several."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same several times; ``most`` is finite."""

    part: Node
    least: int
    most: int


Node = Atom | Border | Row | Branch | Repeat


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises PatternError."""
    _check_with_python(pattern)
    ignores_case = pattern.startswith("(?i)")
    reader = _Reader(pattern, 4 if ignores_case else 0, re.IGNORECASE if ignores_case else re.NOFLAG)
    tree = reader.branch(0)
    if reader.place < len(pattern):
        raise PatternError("there is a ')' too many")
    least, most = lengths(tree)
    if most > MAX_LENGTH:
        raise PatternError(f"it can match {most} characters; at most {MAX_LENGTH} can be held back")
    if not least:
        raise PatternError("it matches the empty text, and so everything")
    return tree


def lengths(node: Node) -> tuple[int, int]:
    """Characters that a match has at least and at most."""
    match node:
        case Atom():
            return 1, 1
        case Border():
            return 0, 0
        case Row(parts):
            each = [lengths(part) for part in parts]
            return sum(least for least, _ in each), sum(most for _, most in each)
        case Branch(options):
            each = [lengths(option) for option in options]
            return min(least for least, _ in each), max(most for _, most in each)
        case Repeat(part, at_least, at_most):
            least, most = lengths(part)
            return least * at_least, most * at_most


def _check_with_python(pattern: str) -> None:
    if not pattern:
        raise PatternError("it is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"it is no regular expression: {error}") from error
    except Warning as error:
        raise PatternError(f"its meaning is not certain: {error}") from error


class _Reader:
    """Reads a pattern that Python understands, by recursive descent."""

    def __init__(self, pattern: str, place: int, flags: re.RegexFlag) -> None:
        self.place = place
        self._pattern = pattern
        self._flags = flags

    def branch(self, depth: int) -> Node:
        """Up to the end, or to the parenthesis that closes."""
        if depth > _MAX_DEPTH:
            raise PatternError(f"its parentheses are nested more than {_MAX_DEPTH} deep")
        options = [self._row(depth)]
        while self._next() == "|":
            self.place += 1
            options.append(self._row(depth))
        return options[0] if len(options) == 1 else Branch(tuple(options))

    def _row(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._next() not in {"", "|", ")"}:
            parts.append(self._repeated(self._single(depth)))
        return Row(tuple(parts))

    def _single(self, depth: int) -> Node:
        character = self._next()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return self._atom(self._set_end())
        if character == "\\":
            return self._escape()
        if character in {"^", "$"}:
            raise PatternError(
                f"'{character}' is not possible: a text that is still coming has no lines yet. Escape it as "
                f"'\\{character}' if the character is meant"
            )
        if character in _SPECIAL:
            raise PatternError(f"'{character}' stands where nothing is to be repeated; escape it")
        return self._atom(self.place + 1)

    def _group(self, depth: int) -> Node:
        self.place += 1
        if self._pattern.startswith("?:", self.place):
            self.place += 2
        elif self._next() == "?":
            opening = self._pattern[self.place - 1 : self.place + 3]
            raise PatternError(
                f"'{opening}' is not possible here; '(…)' and '(?:…)' are, and '(?i)' at the start"
            )
        inner = self.branch(depth + 1)
        self.place += 1
        return inner

    def _escape(self) -> Node:
        match = _ESCAPE.match(self._pattern, self.place)
        assert match is not None
        kind = match.group()[1]
        if kind == "b":
            self.place = match.end()
            return Border()
        if kind.isalnum() and kind not in _CLASSES | _CHARACTERS:
            raise PatternError(f"'\\{kind}' is not possible in a text that is still coming")
        return self._atom(match.end())

    def _set_end(self) -> int:
        """Behind the bracket that closes a set. A bracket right after the opening one is a member."""
        end = self.place + 1
        end += self._pattern.startswith("^", end)
        end += self._pattern.startswith("]", end)
        while self._pattern[end] != "]":
            end += 2 if self._pattern[end] == "\\" else 1
        return end + 1

    def _atom(self, end: int) -> Atom:
        source = self._pattern[self.place : end]
        self.place = end
        return Atom(_member(source, self._flags))

    def _repeated(self, part: Node) -> Node:
        least, most = self._count()
        if (least, most) == (1, 1):
            return part
        if lengths(part)[1] == 0:
            raise PatternError("what has no characters cannot be repeated")
        if self._next() == "+":
            raise PatternError("repetition without giving back ('?+', '{…}+') is not possible")
        self.place += self._next() == "?"
        return Repeat(part, least, most)

    def _count(self) -> tuple[int, int]:
        character = self._next()
        if character == "?":
            self.place += 1
            return 0, 1
        if character in {"*", "+"}:
            raise self._unbounded(f"'{character}'", int(character == "+"))
        match = _COUNT.match(self._pattern, self.place)
        if match is None or match.group() == "{}":
            return 1, 1
        self.place = match.end()
        least, comma, most = match.groups()
        if comma and not most:
            raise self._unbounded(f"'{match.group()}'", int(least or 0))
        return int(least or 0), int(most or least)

    def _unbounded(self, what: str, least: int) -> PatternError:
        return PatternError(f"{what} has no upper bound; write for instance '{{{least},40}}' instead")

    def _next(self) -> str:
        return self._pattern[self.place : self.place + 1]


def _member(source: str, flags: re.RegexFlag) -> Callable[[str], bool]:
    """Whether a character belongs to a set, as Python sees it."""
    expression = re.compile(source, flags)

    @lru_cache(maxsize=4096)
    def accepts(character: str) -> bool:
        return expression.fullmatch(character) is not None

    return accepts
