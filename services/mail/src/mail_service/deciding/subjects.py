"""Subjects of answers and of mails that are sent on."""

from __future__ import annotations

import re

_PREFIX = re.compile(
    r"^(?:\s{0,3}(?:re|ré|rép|fwd?|tr|aw|sv|antw)\s{0,2}(?:\[\d{1,3}\])?\s{0,2}:)+\s{0,3}", re.IGNORECASE
)


def without_prefix(subject: str) -> str:
    """The subject without *Re:*, *TR:* and their like."""
    return _PREFIX.sub("", subject).strip()
