"""The operator's lists, and the file that holds them. Pure; no file is opened here.

::

    # Comments begin like this.
    [prompt]
    word: bombe artisanale
    [answer]
    regex: (?i)\\bFR\\d{2}(?: ?\\d{4}){5}
    [both]
    word: …

Words and phrases are found whole, whatever their case, accents and spacing. Patterns are found as they
stand (see :mod:`.patterns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_core.inference.content_filter.patterns import PatternList
from ai_core.inference.content_filter.search import Search, Table
from ai_core.inference.content_filter.syntax import MAX_LENGTH, PatternError
from ai_core.inference.content_filter.words import WordList, spelled

MAX_RULES = 10_000
_MAX_PROBLEMS = 20
_SECTIONS: dict[str, tuple[str, ...]] = {
    "[prompt]": ("prompt",),
    "[answer]": ("answer",),
    "[both]": ("prompt", "answer"),
}


class RulesError(Exception):
    """The file cannot be used. ``lines`` holds one sentence per mistake, each with its line's number."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class Rules:
    """What one direction may not hold, compiled.

    Attributes:
        words, patterns: for a text that is let out while it comes (see :mod:`.stream`).
        count: how many rules there are.
    """

    def __init__(self, words: Sequence[str], patterns: Sequence[str]) -> None:
        """Raises PatternError."""
        self.words = WordList(words)
        self.patterns = PatternList(patterns)
        self.count = len(words) + len(patterns)
        self._tables = (Table(self.words), Table(self.patterns))

    def search(self) -> TextSearch:
        """Begins to look at a whole text."""
        return TextSearch([table.search() for table in self._tables])


class TextSearch:
    """Whether one text holds a match; it may come in pieces."""

    def __init__(self, searches: Sequence[Search[Any]]) -> None:
        self._searches = searches

    def feed(self, text: str) -> bool:
        """Whether the text so far holds a match."""
        return any([search.feed(text) for search in self._searches])  # noqa: C419 - all have to read on

    def finish(self) -> bool:
        """Whether the text, which is over, holds a match."""
        return any(search.finish() for search in self._searches)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Both directions; None: nothing is looked for there."""

    prompt: Rules | None = None
    answer: Rules | None = None


@dataclass(slots=True)
class _Draft:
    words: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)

    def compiled(self) -> Rules | None:
        return Rules(self.words, self.patterns) if self.words or self.patterns else None


class _Reading:
    """One pass over the lines."""

    def __init__(self) -> None:
        self.drafts = {"prompt": _Draft(), "answer": _Draft()}
        self.rules = 0
        self._into: tuple[str, ...] = ()

    def take(self, line: str) -> None:
        """Raises PatternError or ValueError with what is wrong."""
        if line.startswith("["):
            section = _SECTIONS.get(line)
            if section is None:
                raise ValueError(f"there is no section {line[:40]}; there are {', '.join(_SECTIONS)}")
            self._into = section
            return
        kind, _, text = (part.strip() for part in line.partition(":"))
        if kind not in {"word", "regex"}:
            raise ValueError("a rule begins with 'word:' or 'regex:'")
        if not self._into:
            raise ValueError(f"a rule stands below {', '.join(_SECTIONS)}, which says where it counts")
        self.rules += 1
        if self.rules > MAX_RULES:
            raise ValueError(f"there are more than {MAX_RULES} rules")
        self._add_word(text) if kind == "word" else self._add_pattern(text)

    def _add_word(self, phrase: str) -> None:
        if not any(symbol.isprintable() and symbol != " " for symbol in spelled(phrase)):
            raise ValueError("there is no word behind 'word:'")
        if len(phrase) > MAX_LENGTH:
            raise ValueError(f"a phrase has at most {MAX_LENGTH} characters")
        for direction in self._into:
            self.drafts[direction].words.append(phrase)

    def _add_pattern(self, pattern: str) -> None:
        PatternList([pattern])
        for direction in self._into:
            self.drafts[direction].patterns.append(pattern)


def parse_rules(content: bytes) -> RuleSet:
    """The lists in a file. Raises RulesError."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RulesError([f"line {line}: this is not UTF-8 text."]) from error
    reading = _Reading()
    problems: list[str] = []
    for number, text in enumerate(lines, start=1):
        rule = text.strip()
        if not rule or rule.startswith("#"):
            continue
        try:
            reading.take(rule)
        except (PatternError, ValueError) as error:
            problems.append(f"line {number}: {error}.")
            if len(problems) >= _MAX_PROBLEMS:
                break
    if problems:
        raise RulesError(problems)
    return _compiled(reading)


def _compiled(reading: _Reading) -> RuleSet:
    try:
        return RuleSet(reading.drafts["prompt"].compiled(), reading.drafts["answer"].compiled())
    except PatternError as error:
        raise RulesError([f"all patterns together: {error}."]) from error
