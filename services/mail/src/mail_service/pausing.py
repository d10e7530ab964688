"""A journal from which nothing is claimed while an operator has paused the service."""

from __future__ import annotations

from typing import Any

from mail_service.storage.switches import Switches
from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane


class PausableJournal(Journal):
    """For the crew: mails still come in meanwhile, and wait."""

    def __init__(self, *arguments: Any, switches: Switches, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._switches = switches

    async def claim(self) -> HeldLane | None:
        """None while the service is paused."""
        return None if await self._switches.paused_since() is not None else await super().claim()
