"""The AI core as the mail service sees it."""

from __future__ import annotations

import asyncio
from typing import Any

from chaos.core import KEY, AilingCore, begin_stream, end_stream, error, send_event

__all__ = ["KEY", "MailCore"]
GENERATION_SECONDS = 0.6
ANSWER = "Le contrat de travail dure aussi longtemps que les deux parties le veulent : **oui**."


class MailCore(AilingCore):
    """Writes whole answers."""

    path = "/api/v1/generate"

    def __init__(self, *, pause: float = GENERATION_SECONDS) -> None:
        """``pause``: seconds that an answer takes."""
        super().__init__()
        self._pause = pause

    async def generate(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        await begin_stream(writer)
        await send_event(writer, {"delta": ANSWER[:20]})
        await asyncio.sleep(self._pause)
        if self.ailment in {"gone", "cut"}:
            return False
        if self.ailment == "error":
            await send_event(writer, error("generation_failed"), "error")
            return False
        subject = body.get("email_context", {}).get("subject", "")
        await end_stream(writer, {"response": ANSWER, "suggested_subject": f"Re: {subject}"})
        return True
