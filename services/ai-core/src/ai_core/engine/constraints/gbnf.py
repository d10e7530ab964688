"""GBNF, llama.cpp's notation for grammars: read, checked, and written down for the compiler.

The notation: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md. A GBNF grammar has
no words: it speaks of characters. The compiler (llguidance) has a lexer that always takes the longest
word, which would change what such a grammar means. So a grammar without recursion becomes one single
word (a regular expression, which is exact and fast), and one with recursion becomes rules whose words
are single characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ai_core.engine.constraints.bad_grammar import BadGrammar, quoted

ROOT = "root"
MAX_CHARACTERS = 100_000
MAX_PARTS = 20_000
"""Parts of all rules together, in a grammar without recursion: a character, a class, a name, a group."""
MAX_RECURSIVE_PARTS = 500
"""The same in a grammar with recursion: the parser may have an item for each, in every step."""
MAX_DEPTH = 40
MAX_REPETITION = 2_000

_LAST = 0x10FFFF


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of ranges of code points, both ends included; or out of all others."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """Another rule."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; empty: nothing at all."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """``least`` to ``most`` times; None: without end."""

    part: Part
    least: int
    most: int | None


Part = Characters | Name | Sequence | Choice | Repetition
Rules = Mapping[str, Part]


def to_lark(text: str) -> str:
    """A GBNF grammar in the compiler's notation.

    Raises:
        BadGrammar: malformed, or with names that are defined nowhere, or with rules that never end, or
            too large; with the line.
    """
    rules = parse(text)
    used = _reachable(rules)
    _refuse_endless({name: rules[name] for name in used})
    recursive = _is_recursive(rules)
    parts = sum(_size(rules[name]) for name in used)
    most = MAX_RECURSIVE_PARTS if recursive else MAX_PARTS
    if parts > most:
        kind = "with recursion " if recursive else ""
        raise BadGrammar(f"the grammar has {parts} parts, and {most} are the most that one {kind}may have")
    return _Writer(list(used), words=not recursive).write(rules)


def parse(text: str) -> dict[str, Part]:
    """The rules of a grammar by name, in their order.

    Raises:
        BadGrammar: see :func:`to_lark`.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadGrammar(f"the grammar has more than {MAX_CHARACTERS} characters")
    rules = _Reader(text).rules()
    if ROOT not in rules:
        raise BadGrammar(f"the grammar has no rule named '{ROOT}'")
    for part in rules.values():
        for name in _names(part):
            if name.name not in rules:
                raise BadGrammar(f"no rule is named {quoted(name.name)}", f"line {name.line}")
    return rules


# --- looking at rules ------------------------------------------------------------------------------


def _inner(part: Part) -> tuple[Part, ...]:
    match part:
        case Sequence(parts) | Choice(parts):
            return parts
        case Repetition(inner):
            return (inner,)
        case _:
            return ()


def _walk(part: Part) -> Iterator[Part]:
    todo = [part]
    while todo:
        one = todo.pop()
        yield one
        todo += _inner(one)


def _names(part: Part) -> Iterator[Name]:
    return (one for one in _walk(part) if isinstance(one, Name))


def _size(part: Part) -> int:
    return sum(1 for _ in _walk(part))


def _reachable(rules: Rules) -> dict[str, None]:
    """The rules that the root needs, in the order in which they are met."""
    reached: dict[str, None] = {}
    todo = [ROOT]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached[name] = None
            todo += [inner.name for inner in _names(rules[name])]
    return reached


def _is_recursive(rules: Rules) -> bool:
    done: set[str] = set()
    above: set[str] = set()
    todo = [(ROOT, False)]
    while todo:
        name, leaving = todo.pop()
        if leaving:
            above.discard(name)
            done.add(name)
        elif name in above:
            return True
        elif name not in done:
            above.add(name)
            todo.append((name, True))
            todo += [(inner.name, False) for inner in _names(rules[name])]
    return False


def _refuse_endless(rules: Rules) -> None:
    """Refuse rules of which no text can ever be finished."""
    ending: set[str] = set()
    grown = True
    while grown:
        found = {name for name in rules.keys() - ending if _ends(rules[name], ending)}
        grown = bool(found)
        ending |= found
    for name in rules:
        if name not in ending:
            raise BadGrammar(f"the rule {quoted(name)} never ends: it always needs itself again")


def _ends(part: Part, ending: set[str]) -> bool:
    match part:
        case Characters():
            return True
        case Name(name):
            return name in ending
        case Sequence(parts):
            return all(_ends(inner, ending) for inner in parts)
        case Choice(parts):
            return any(_ends(inner, ending) for inner in parts)
        case Repetition(inner, least):
            return least == 0 or _ends(inner, ending)


# --- reading ---------------------------------------------------------------------------------------

_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_COUNT = re.compile(r"\{[ \t]*(\d*)[ \t]*(?:(,)[ \t]*(\d*)[ \t]*)?\}")
_HEX = {"x": 2, "u": 4, "U": 8}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "[": "[", "]": "]"}
_MARKS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class _Reader:
    """Recursive descent, as in llama.cpp's llama-grammar.cpp."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def rules(self) -> dict[str, Part]:
        rules: dict[str, Part] = {}
        self._skip(lines=True)
        while self._at < len(self._text):
            name = self._word("the name of a rule")
            if name in rules:
                raise self._bad(f"the rule {quoted(name)} is defined twice")
            self._skip(lines=False)
            self._take("::=")
            self._skip(lines=True)
            rules[name] = self._choice(nested=False)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._bad(f"{quoted(self._text[self._at])} is unexpected")
            self._skip(lines=True)
        return rules

    def _choice(self, *, nested: bool) -> Part:
        parts = [self._sequence(nested=nested)]
        while self._text.startswith("|", self._at):
            self._at += 1
            self._skip(lines=True)
            parts.append(self._sequence(nested=nested))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self, *, nested: bool) -> Part:
        parts: list[Part] = []
        while (part := self._one()) is not None:
            self._skip(lines=nested)
            while (bounds := self._bounds()) is not None:
                part = Repetition(part, *bounds)
                self._skip(lines=nested)
            parts.append(part)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _one(self) -> Part | None:
        character = self._text[self._at : self._at + 1]
        match character:
            case '"':
                return self._literal()
            case "[":
                return self._class()
            case ".":
                self._at += 1
                return Characters((), negated=True)
            case "(":
                return self._group()
            case "<" | "!":
                raise self._bad("tokens in grammars are not supported; write the text that they stand for")
        if not _WORD.match(character):
            return None
        return Name(self._word("the name of a rule"), self._line())

    def _group(self) -> Part:
        if self._depth >= MAX_DEPTH:
            raise self._bad(f"groups are nested more than {MAX_DEPTH} deep")
        self._depth += 1
        self._at += 1
        self._skip(lines=True)
        part = self._choice(nested=True)
        self._take(")")
        self._depth -= 1
        return part

    def _literal(self) -> Part:
        self._at += 1
        parts: list[Part] = []
        while not self._text.startswith('"', self._at):
            code = self._character()
            parts.append(Characters(((code, code),)))
        self._at += 1
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _class(self) -> Part:
        self._at += 1
        negated = self._text.startswith("^", self._at)
        self._at += negated
        ranges: list[tuple[int, int]] = []
        while not self._text.startswith("]", self._at):
            first = last = self._character()
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                last = self._character()
            if last < first:
                raise self._bad("a range of characters goes backwards")
            ranges.append((first, last))
        if not ranges:
            raise self._bad("a class has no characters")
        self._at += 1
        return Characters(tuple(ranges), negated)

    def _character(self) -> int:
        text, at = self._text, self._at
        if at >= len(text):
            raise self._bad("the grammar ends inside of a text or a class")
        self._at += 1
        if text[at] != "\\":
            return ord(text[at])
        kind = text[at + 1 : at + 2]
        self._at += 1
        if kind in _ESCAPES:
            return ord(_ESCAPES[kind])
        digits = text[at + 2 : at + 2 + _HEX.get(kind, 0)]
        written = quoted("\\" + kind + digits)
        if len(digits) != _HEX.get(kind) or not re.fullmatch("[0-9a-fA-F]+", digits):
            raise self._bad(f"{written} is no escape that GBNF knows")
        self._at += len(digits)
        code = int(digits, 16)
        if code > _LAST or 0xD800 <= code <= 0xDFFF:
            raise self._bad(f"{written} is no character")
        return code

    def _bounds(self) -> tuple[int, int | None] | None:
        mark = self._text[self._at : self._at + 1]
        if mark in _MARKS:
            self._at += 1
            return _MARKS[mark]
        if mark != "{":
            return None
        found = _COUNT.match(self._text, self._at)
        if found is None or not (found[1] or found[3]) or len(found[0]) > 30:
            raise self._bad("a repetition is written {m}, {m,}, {m,n} or {,n}")
        least = int(found[1] or 0)
        most = least if found[2] is None else int(found[3]) if found[3] else None
        if most is not None and most < least:
            raise self._bad("a repetition goes backwards")
        if max(least, most or 0) > MAX_REPETITION:
            raise self._bad(f"nothing may be repeated more than {MAX_REPETITION} times")
        self._at = found.end()
        return least, most

    def _word(self, what: str) -> str:
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise self._bad(f"{what} is expected")
        self._at = found.end()
        return found[0]

    def _take(self, mark: str) -> None:
        if not self._text.startswith(mark, self._at):
            raise self._bad(f"'{mark}' is expected")
        self._at += len(mark)

    def _skip(self, *, lines: bool) -> None:
        found = (_SPACE_AND_LINES if lines else _SPACE).match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _bad(self, problem: str) -> BadGrammar:
        return BadGrammar(problem, f"line {self._line()}")


# --- writing ---------------------------------------------------------------------------------------


class _Writer:
    """Lark's notation, as llguidance reads it: names in capitals are words, the others are rules."""

    def __init__(self, names: Iterable[str], *, words: bool) -> None:
        prefix = "R" if words else "r"
        self._names = {name: f"{prefix}{number}" for number, name in enumerate(names)}

    def write(self, rules: Rules) -> str:
        lines = [f"start: {self._names[ROOT]}"]
        lines += [f"{short}: {self._part(rules[name])}" for name, short in self._names.items()]
        return "\n".join(lines) + "\n"

    def _part(self, part: Part) -> str:
        match part:
            case Characters():
                return _expression(part)
            case Name(name):
                return self._names[name]
            case Sequence(parts):
                return " ".join(self._grouped(inner) for inner in parts) if parts else '""'
            case Choice(parts):
                return " | ".join(self._part(inner) for inner in parts)
            case Repetition(_, _, 0):
                return '""'
            case Repetition(inner, least, most):
                return f"({self._part(inner)}){{{least},{'' if most is None else most}}}"

    def _grouped(self, part: Part) -> str:
        return f"({self._part(part)})" if isinstance(part, Choice) else self._part(part)


def _expression(characters: Characters) -> str:
    ranges = "".join(_range(first, last) for first, last in characters.ranges)
    if not ranges:
        return "/(?s:.)/"
    return f"/[{'^' if characters.negated else ''}{ranges}]/"


def _range(first: int, last: int) -> str:
    start = f"\\x{{{first:x}}}"
    return start if first == last else f"{start}-\\x{{{last:x}}}"
