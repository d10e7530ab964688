"""What keys are called in Redis, or in the process where there is none.

People stand there under a pseudonym (``Seal.name``): keys are seen by whoever watches Redis, reads its slow
log or finds one of its dumps. The same person always has the same one, so all that is kept can be found and
deleted.
"""

from __future__ import annotations

from datetime import date, timedelta

from servicekit.storage.sealing import Seal


class HotKeys:
    """Of one service with one seal."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def of_person(self, person_id: int, what: str) -> str:
        """``user:{pseudonym}:{what}``"""
        return f"user:{self._seal.name(b'person', str(person_id).encode())}:{what}"

    def of_chat(self, chat_id: int, what: str) -> str:
        """``chat:{pseudonym}:{what}``"""
        return f"chat:{self._seal.name(b'chat', str(chat_id).encode())}:{what}"

    def tokens(self, person_id: int, day: date) -> str:
        """What somebody's answers of a day have cost."""
        return self.of_person(person_id, f"tokens:{day.isoformat()}")

    def limits_of_person(self, person_id: int, today: date) -> list[str]:
        """Everything that limits know of somebody."""
        plain = ("rate_limit", "rate_limit:control", "told", "told:control", "told:tokens")
        return [
            *(self.of_person(person_id, what) for what in plain),
            *(self.tokens(person_id, day) for day in (today, today - timedelta(days=1))),
            self.of_chat(person_id, "pace"),
        ]
