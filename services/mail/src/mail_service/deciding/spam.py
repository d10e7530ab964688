"""Signs of spam, for where no scanner is configured."""

from __future__ import annotations

from mail_service.deciding.facts import Facts
from mail_service.letters import Letter


def score(letter: Letter, facts: Facts) -> float:
    """From 5 on it is spam."""
    return 0.0
