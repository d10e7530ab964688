"""The subject of an answer. Pure."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 150
_REPLY = re.compile(r"^(?:(?:re|aw|sv|antw|rép|rep)\s*(?:[\[(]\d+[\])])?\s*:\s*)+", re.IGNORECASE)


def one_line(text: str, most: int) -> str:
    """A text that may stand in a header: without line breaks, control and invisible characters, and without
    the beginnings of encoded words (RFC 2047, section 2), which a mail program would decode again."""
    visible = "".join(
        " " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character
        for character in text[: 4 * most]
        if unicodedata.category(character) not in {"Cf", "Cs", "Co", "Cn"}
    )
    return " ".join(visible.replace("=?", "= ?").split())[:most].rstrip()


def reply_subject(original: str, suggested: str) -> str:
    """The subject of the answer to a mail: its own, with one ``Re:`` before it.

    Args:
        suggested: what stands there for a mail without a subject.
    """
    given = _REPLY.sub("", one_line(original, MAX_CHARACTERS))
    return f"Re: {given}" if given else one_line(suggested, MAX_CHARACTERS)
