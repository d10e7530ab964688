"""What a run of the load test consists of: written by who starts it, read by locust's process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "NEO_LOAD_PLAN"
"""In the environment: where the plan is."""
TOLD_TO_WAIT = "told to wait (429, 503)"
"""The name of requests that were: what comes after them has a name of its own."""
FIRST_PERSON = 1_000
"""On Telegram; the others follow."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is there, and where they go."""

    url: str = ""
    """Of nginx, for the API and for Telegram's webhook."""
    key: str = ""
    model: str = ""
    talkers: int = 0
    singles: int = 0
    readers: int = 0
    standard: int = 0
    crowd: int = 0
    people: int = 0
    """On Telegram, each with one question."""
    letters: int = 0
    """Mails, each of somebody else."""
    within: float = 60.0
    """Seconds in which people and letters come, evenly."""
    webhook_path: str = ""
    webhook_header: str = ""
    webhook_secret: str = ""
    smtp_host: str = ""
    smtp_port: int = 0
    mailbox: str = ""
    report: str = ""
    """Where it is told who said what when."""

    @property
    def clients(self) -> int:
        """Of the API."""
        return self.talkers + self.singles + self.readers + self.standard + self.crowd

    @property
    def total(self) -> int:
        """All of locust's users."""
        return self.clients + self.people + self.letters

    def write(self, path: Path) -> None:
        """For :func:`read`."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def _read() -> Plan:
    path = os.environ.get(VARIABLE)
    return Plan(**json.loads(Path(path).read_text(encoding="utf-8"))) if path else Plan()


PLAN = _read()
"""Of this process."""
