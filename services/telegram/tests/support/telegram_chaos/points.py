"""Where the Telegram service's process ends itself."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any

from chaos import points
from chaos.points import Around, Trace
from servicekit.ai_core.client import AiCore
from servicekit.ai_core.requests import Answer
from servicekit.journal.crew import Crew
from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane
from telegram_service.messenger.bot_api import BotApiMessenger
from telegram_service.storage.conversations import Conversations

AROUND: tuple[Around, ...] = (
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


def install(trace: Trace) -> None:
    """Around everything that matters, for the rest of this process's life."""
    points.install(AROUND, trace)
    AiCore.chat = _generation(AiCore.chat, trace)  # type: ignore[method-assign]


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
