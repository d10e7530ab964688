"""Where a service's process ends itself. Installed in that process alone, around its ports: the code that is
tried knows nothing of it."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mail_service.intake import Intake
from mail_service.mailbox.imap import ImapMailbox
from mail_service.mailbox.wire import Connection
from mail_service.pausing import PausableJournal
from mail_service.sending.smtp import SmtpOutlet
from mail_service.storage.correspondence import Correspondence
from servicekit.ai_core.client import AiCore
from servicekit.journal.crew import Crew
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Part

AROUND: tuple[tuple[type, str, str, str], ...] = (
    (Intake, "take", "before a mail is stored", "after a mail is stored"),
    (Connection, "mark", "before the mark", ""),
    (PausableJournal, "claim", "", "after the claim"),
    (HeldLane, "begin", "", "after the attempt is counted"),
    (AiCore, "generate", "before the AI core is asked", "after the AI core has answered"),
    (Correspondence, "answered", "", "after the history is written"),
    (HeldLane, "answer", "before the answer is stored", "after the answer is stored"),
    (HeldLane, "sending", "before sending is stored", "after sending is stored"),
    (SmtpOutlet, "send", "", "after the mail went out"),
    (HeldLane, "sent", "before sent is stored", "after sent is stored"),
    (HeldLane, "unsent", "", ""),
    (HeldLane, "unknown", "", ""),
    (HeldLane, "dropped", "", ""),
    (ImapMailbox, "keep", "before the copy", "after the copy"),
    (HeldLane, "finish", "before the entry is finished", "after the entry is finished"),
    (HeldLane, "put_off", "", "after it is put off"),
    (HeldLane, "release", "before the lane is released", ""),
    (Crew, "stop", "during the drain", ""),
)


@dataclass
class Trace:
    """Writes what happens, and ends the process where it is due."""

    file: int
    point: str = ""
    times: int = 0
    passed: Counter[str] = field(default_factory=Counter)

    def reach(self, point: str) -> None:
        """A point is passed, or is the end."""
        if not point:
            return
        self.passed[point] += 1
        if point == self.point and self.passed[point] == self.times:
            self.write({"killed": point})
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, line: dict[str, Any]) -> None:
        """A line that survives the process."""
        os.write(self.file, json.dumps(line).encode() + b"\n")


def install(trace: Trace) -> None:
    """Around everything that matters, for the rest of this process's life."""
    for owner, method, before, after in AROUND:
        setattr(owner, method, _around(getattr(owner, method), trace, before, after))


def _around(original: Callable[..., Any], trace: Trace, before: str, after: str) -> Callable[..., Any]:
    @functools.wraps(original)
    async def around(*args: Any, **kwargs: Any) -> Any:
        trace.reach(before)
        result = await original(*args, **kwargs)
        if isinstance(result, Part):
            trace.write({"part": result.id, "entry": result.entry_id, "state": result.state})
        if result is not None or original.__name__ != "claim":
            trace.reach(after)
        return result

    return around
