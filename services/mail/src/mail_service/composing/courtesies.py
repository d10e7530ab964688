"""Greetings and closings that a model writes although it was told not to: the sheet has its own. Pure.

Small models do so often, and an answer that greets twice is read as a mistake.
"""

from __future__ import annotations

import re

LONGEST_LINE = 80
"""Characters of a line that may be a greeting, a closing or a name."""
MOST_NAMES = 3
"""Lines of a signature below a closing."""
_MARKS = "*_ \t"
_GREETING = re.compile(
    r"(?:bonjour|bonsoir|hello|hi|dear|ch[eè]re?s?|good (?:morning|afternoon|evening))"
    r"(?:[ ,][^.?:;!]*)?(?:,|\s?!)"
    r"|bonjour|bonsoir|hello",
    re.IGNORECASE,
)
_OF_A_LETTER = re.compile(r"(?:madame|monsieur|dear (?:sir|madam)|objet\s?:|subject\s?:)", re.IGNORECASE)
_CLOSING = re.compile(
    r"(?:(?:bien|tr[eè]s) )?(?:cordialement|sinc[eè]rement|respectueusement)|bien [àa] vous"
    r"|(?:(?:kind|best|warm) )?regards|best wishes|(?:yours )?(?:sincerely|faithfully)(?: yours)?",
    re.IGNORECASE,
)


def without_courtesies(text: str) -> str:
    """An answer, in Markdown, without a greeting on its first line and a closing with names on its last.

    Whatever stands beside other words stays; so does all of an answer that has nothing else, and the closing
    of a letter that the answer proposes.
    """
    lines = text.strip().splitlines()
    rest = lines[1:] if lines and _is(_GREETING, lines[0]) else lines
    if not any(_OF_A_LETTER.match(line.lstrip("> *_`")) for line in rest):
        rest = _without_closing(rest)
    return "\n".join(rest).strip() or text.strip()


def _without_closing(lines: list[str]) -> list[str]:
    written = [number for number, line in enumerate(lines) if line.strip()]
    for number in written[-1 - MOST_NAMES :]:
        after = [lines[one] for one in written if one > number]
        if _is(_CLOSING, lines[number].rstrip(" *_,.!")) and all(map(_may_be_a_name, after)):
            return lines[:number]
    return lines


def _may_be_a_name(line: str) -> bool:
    return len(line) <= LONGEST_LINE and not line.rstrip(_MARKS).endswith((".", "?", ":", "!", ";"))


def _is(pattern: re.Pattern[str], line: str) -> bool:
    return len(line) <= LONGEST_LINE and pattern.fullmatch(line.strip(_MARKS)) is not None
