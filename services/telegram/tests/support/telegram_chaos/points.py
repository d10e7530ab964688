"""Where a service's process ends itself. Installed in that process alone, around its ports: the code that is
tried knows nothing of it.

What happens is also written to a file, line by line, so that it can be told after a kill which sends were
under way.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from servicekit.ai_core.client import AiCore
from servicekit.ai_core.requests import Answer
from servicekit.journal.crew import Crew
from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane
from servicekit.journal.records import Part
from servicekit.storage.database import StorageUnavailable
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.storage.conversations import Conversations

AROUND: tuple[tuple[type, str, str, str], ...] = (
    (Journal, "receive", "before the insert", "after the insert"),
    (Journal, "claim", "", "after the claim"),
    (HeldLane, "begin", "", "after the attempt is counted"),
    (HeldLane, "open_part", "before open_part", "after open_part"),
    (HeldLane, "sending", "before sending is stored", "after sending is stored"),
    (BotApiMessenger, "send", "", "after Telegram's reply"),
    (HeldLane, "streaming", "", "after streaming is stored"),
    (BotApiMessenger, "edit", "before an edit", "after an edit"),
    (Conversations, "store", "", "after the turn is remembered"),
    (HeldLane, "answer", "before the answer is stored", "after the answer is stored"),
    (HeldLane, "sent", "before sent is stored", "after sent is stored"),
    (HeldLane, "unsent", "", ""),
    (HeldLane, "unknown", "", ""),
    (HeldLane, "dropped", "", ""),
    (HeldLane, "finish", "before the entry is finished", "after the entry is finished"),
    (HeldLane, "put_off", "", "after it is put off"),
    (HeldLane, "release", "before the lane is released", "after the lane is released"),
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
    AiCore.chat = _generation(AiCore.chat, trace)  # type: ignore[method-assign]


def _around(original: Callable[..., Any], trace: Trace, before: str, after: str) -> Callable[..., Any]:
    @functools.wraps(original)
    async def around(*args: Any, **kwargs: Any) -> Any:
        trace.reach(before)
        try:
            result = await original(*args, **kwargs)
        except StorageUnavailable:
            if original.__name__ == "sending":
                # Whether the database stored it before it went away, nobody knows.
                trace.write({"doubted": args[1].entry_id})
            raise
        if isinstance(result, Part):
            trace.write({"part": result.id, "entry": result.entry_id, "state": result.state})
        if result is not None or original.__name__ != "claim":
            trace.reach(after)
        return result

    return around


def _generation(original: Callable[..., Any], trace: Trace) -> Callable[..., Any]:
    @functools.wraps(original)
    async def chat(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        trace.reach("before the AI core is asked")
        stream = original(*args, **kwargs)
        try:
            async for item in stream:
                trace.reach(
                    "after the answer is complete" if isinstance(item, Answer) else "during the generation"
                )
                yield item
        finally:
            await stream.aclose()

    return chat
