"""Finds whole words and phrases in a text that comes character by character. Pure.

The automaton of Aho and Corasick (1975) over folded characters, with one more symbol wherever a word
begins or ends: so "art" is found in "l'Art !", and not in "Martin".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ai_core.inference.content_filter.folding import fold, is_word_character

MAX_IGNORED = 32
"""So many characters that count as nothing may stand between two that count: accents, zero-width
characters, further spaces. More of them part a word, or there would be no bound on what is held back."""
_BORDER = "\x00b"
_GAP = "\x00g"
_REMEMBERED_MOVES = 200_000


@dataclass(slots=True, unsafe_hash=True)
class _Spelling:
    """Turns characters into symbols: folded ones, borders of words, gaps."""

    in_word: bool = False
    last: str = ""
    ignored: int = 0

    def symbols(self, character: str) -> Sequence[str]:
        """Those that a character adds: mostly one, or none."""
        folded = fold(character)
        if not folded or folded == self.last == " ":
            self.ignored += 1
            return self._bordered(_GAP) if self.ignored == MAX_IGNORED else ()
        self.ignored = 0
        if len(folded) == 1:
            return self._bordered(folded)
        return [symbol for one in folded for symbol in self._bordered(one)]

    def end(self) -> Sequence[str]:
        """The text is over."""
        was_in_word, self.in_word = self.in_word, False
        return (_BORDER,) if was_in_word else ()

    def _bordered(self, symbol: str) -> tuple[str, ...]:
        self.last = symbol
        if is_word_character(symbol) is self.in_word:
            return (symbol,)
        self.in_word = not self.in_word
        return (_BORDER, symbol)


def spelled(phrase: str) -> tuple[str, ...]:
    """The symbols that stand for a phrase wherever it occurs; empty if nothing of it counts."""
    spelling = _Spelling()
    symbols = [symbol for character in phrase.strip() for symbol in spelling.symbols(character)]
    return (*symbols, *spelling.end())


@dataclass(slots=True)
class _State:
    depth: int
    found: bool = False
    moves: dict[str, int] = field(default_factory=dict)
    fallback: int = 0


@dataclass(frozen=True, slots=True)
class WordState:
    """Where a text stands that is searched by ``search.Search``; the spelling is not changed any more."""

    place: int
    spelling: _Spelling


class WordList:
    """All words and phrases of one list, compiled."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._states = [_State(0)]
        for phrase in phrases:
            self._add(spelled(phrase))
        self._link()
        self._remembered = 0
        self.longest = max(state.depth for state in self._states)
        """In symbols."""

    def scanner(self) -> WordScanner:
        """Begins to read a text."""
        return WordScanner(self)

    def begin(self) -> WordState:
        """As ``search.Automaton`` says."""
        return WordState(0, _Spelling())

    def after(self, state: WordState, character: str) -> WordState | None:
        """As ``search.Automaton`` says."""
        place, spelling = state.place, replace(state.spelling)
        for symbol in spelling.symbols(character):
            place = self.move(place, symbol)
            if self.found(place):
                return None
        return WordState(place, spelling)

    def found_at_end(self, state: WordState) -> bool:
        """As ``search.Automaton`` says."""
        return any(self.found(self.move(state.place, symbol)) for symbol in replace(state.spelling).end())

    def move(self, state: int, symbol: str) -> int:
        """The state after one more symbol."""
        target = self._states[state].moves.get(symbol)
        if target is not None:
            return target
        target = self._target(state, symbol)
        if state and self._remembered < _REMEMBERED_MOVES:
            self._remembered += 1
            self._states[state].moves[symbol] = target
        return target

    def depth(self, state: int) -> int:
        """How many of the last symbols may be the beginning of a phrase."""
        return self._states[state].depth

    def found(self, state: int) -> bool:
        """Whether a phrase ends here."""
        return self._states[state].found

    def _add(self, symbols: tuple[str, ...]) -> None:
        if not symbols:
            return
        state = 0
        for symbol in symbols:
            target = self._states[state].moves.get(symbol)
            if target is None:
                target = len(self._states)
                self._states[state].moves[symbol] = target
                self._states.append(_State(self._states[state].depth + 1))
            state = target
        self._states[state].found = True

    def _link(self) -> None:
        """Where each state goes on when no phrase of its own does: its longest proper suffix."""
        queue = deque([0])
        while queue:
            state = queue.popleft()
            for symbol, target in self._states[state].moves.items():
                queue.append(target)
                fallback = self._target(self._states[state].fallback, symbol) if state else 0
                self._states[target].fallback = fallback
                self._states[target].found |= self._states[fallback].found

    def _target(self, state: int, symbol: str) -> int:
        """Where the longest suffix of what was read that goes on with this symbol leads."""
        while symbol not in self._states[state].moves:
            if not state:
                return 0
            state = self._states[state].fallback
        return self._states[state].moves[symbol]


class WordScanner:
    """Reads one text."""

    def __init__(self, words: WordList) -> None:
        self._words = words
        self._spelling = _Spelling()
        self._state = 0
        self._places: deque[int] = deque(maxlen=words.longest)
        """Where the last symbols stand in the text."""

    def read(self, place: int, character: str) -> bool:
        """Whether a phrase is complete with this character, the ``place``-th of the text."""
        return self._steps(place, self._spelling.symbols(character))

    def end(self, place: int) -> bool:
        """Whether a phrase is complete because the text is over."""
        return self._steps(place, self._spelling.end())

    def earliest(self) -> int | None:
        """Where the longest possible beginning of a phrase stands; None: there is none."""
        depth = self._words.depth(self._state)
        return self._places[len(self._places) - depth] if depth else None

    def _steps(self, place: int, symbols: Sequence[str]) -> bool:
        for symbol in symbols:
            self._state = self._words.move(self._state, symbol)
            self._places.append(place)
            if self._words.found(self._state):
                return True
        return False
