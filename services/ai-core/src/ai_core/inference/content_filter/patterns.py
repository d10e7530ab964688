"""Finds patterns in a text that comes character by character. Pure.

The patterns are Python's regular expressions (https://docs.python.org/3/library/re.html) as far as one
can look for them in one pass, in time linear in the text, and with a bound on what is held back: no
unbounded repetition, no look-around, no references back. They are run as automata (Thompson, 1968).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from ai_core.inference.content_filter.folding import is_word_character
from ai_core.inference.content_filter.syntax import (
    Atom,
    Border,
    Branch,
    Node,
    PatternError,
    Repeat,
    Row,
    parse,
)

MAX_STATES = 20_000
"""Of one list of patterns: each counted repetition is written out."""
_REMEMBERED_MOVES = 100_000
_FOUND = 0
"""The state in which a pattern is complete."""

Moves = tuple[int, ...]


@dataclass(slots=True)
class _State:
    """Reads a character and goes on to ``next``; or goes on without reading, perhaps only where a word
    begins or ends."""

    reads: Callable[[str], bool] | None = None
    only_at_border: bool = False
    next: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PatternState:
    """Where a text stands that is searched by ``search.Search``."""

    live: frozenset[int]
    in_word: bool


class PatternList:
    """All patterns of one list, compiled. Raises PatternError."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._states = [_State()]
        self._starts = tuple(self._build(parse(pattern), _FOUND) for pattern in patterns)
        remembering = lru_cache(maxsize=_REMEMBERED_MOVES)
        self._closures = remembering(self._closure)
        self._moves = remembering(self._move)
        self._beginnings = remembering(self._begin)

    def scanner(self) -> PatternScanner:
        """Begins to read a text."""
        return PatternScanner(self)

    def begin(self) -> PatternState:
        """As ``search.Automaton`` says."""
        return PatternState(frozenset(), False)

    def after(self, state: PatternState, character: str) -> PatternState | None:
        """As ``search.Automaton`` says."""
        in_word = is_word_character(character)
        border = in_word is not state.in_word
        if any(self.complete(one, border) for one in state.live):
            return None
        live = set(self.beginnings(border, character))
        live.update(*(self.moves(one, border, character) for one in state.live))
        return PatternState(frozenset(live), in_word)

    def found_at_end(self, state: PatternState) -> bool:
        """As ``search.Automaton`` says."""
        return any(self.complete(one, state.in_word) for one in state.live)

    def moves(self, state: int, border: bool, character: str) -> Moves:
        """The states to which reading a character leads; ``border``: a word begins or ends before it."""
        return self._moves(state, border, character)

    def beginnings(self, border: bool, character: str) -> Moves:
        """The same for patterns that begin with this character."""
        return self._beginnings(border, character)

    def complete(self, state: int, border: bool) -> bool:
        """Whether a pattern is complete in this state; ``border`` as above, about what comes next."""
        return _FOUND in self._closures(state, border)

    def _move(self, state: int, border: bool, character: str) -> Moves:
        return self._read((state,), border, character)

    def _begin(self, border: bool, character: str) -> Moves:
        return self._read(self._starts, border, character)

    def _read(self, states: Iterable[int], border: bool, character: str) -> Moves:
        found: dict[int, None] = {}
        for state in states:
            for reading in self._closures(state, border):
                reads = self._states[reading].reads
                if reads is not None and reads(character):
                    found.update(dict.fromkeys(self._states[reading].next))
        return tuple(found)

    def _closure(self, state: int, border: bool) -> Moves:
        """The states that read, and the final one, which are reached without reading."""
        seen: set[int] = set()
        waiting = [state]
        while waiting:
            number = waiting.pop()
            here = self._states[number]
            if number not in seen and here.reads is None and (border or not here.only_at_border):
                waiting += here.next
            seen.add(number)
        return tuple(number for number in seen if number == _FOUND or self._states[number].reads)

    # --- compiling --------------------------------------------------------------------------------

    def _build(self, node: Node, after: int) -> int:
        """The state that begins a node and goes on to ``after``."""
        match node:
            case Atom(accepts):
                return self._state(_State(accepts, next=[after]))
            case Border():
                return self._state(_State(only_at_border=True, next=[after]))
            case Row(parts):
                for part in reversed(parts):
                    after = self._build(part, after)
                return after
            case Branch(options):
                return self._state(_State(next=[self._build(option, after) for option in options]))
            case Repeat(part, least, most):
                return self._build_repeat(part, least, most, after)

    def _build_repeat(self, part: Node, least: int, most: int, after: int) -> int:
        end = after
        for _ in range(most - least):
            after = self._state(_State(next=[self._build(part, after), end]))
        for _ in range(least):
            after = self._build(part, after)
        return after

    def _state(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise PatternError("its repetitions, written out, are too much; make their bounds smaller")
        self._states.append(state)
        return len(self._states) - 1


class PatternScanner:
    """Reads one text."""

    def __init__(self, patterns: PatternList) -> None:
        self._patterns = patterns
        self._live: dict[int, int] = {}
        """States that patterns are in, with the place where each began: the earliest one first."""
        self._in_word = False

    def read(self, place: int, character: str) -> bool:
        """Whether a pattern is complete before this character, the ``place``-th of the text."""
        in_word = is_word_character(character)
        border = in_word is not self._in_word
        self._in_word = in_word
        patterns, live = self._patterns, dict[int, int]()
        for state, start in self._live.items():
            if patterns.complete(state, border):
                return True
            for target in patterns.moves(state, border, character):
                live.setdefault(target, start)
        for target in patterns.beginnings(border, character):
            live.setdefault(target, place)
        self._live = live
        return False

    def end(self, place: int) -> bool:
        """Whether a pattern is complete because the text is over."""
        return any(self._patterns.complete(state, self._in_word) for state in self._live)

    def earliest(self) -> int | None:
        """Where the longest possible beginning of a match stands; None: there is none."""
        return next(iter(self._live.values()), None)
