"""The AI core as the Telegram service sees it.

Its answers follow from the questions, so a verdict knows them in advance.
"""

from __future__ import annotations

import asyncio
from typing import Any

from chaos.core import KEY, AilingCore, begin_stream, end_stream, error, send_event

__all__ = ["KEY", "Core", "answer_to"]
WORDS = [
    "Le",
    "contrat",
    "de",
    "travail",
    "dure",
    "aussi",
    "longtemps",
    "que",
    "les",
    "deux",
    "parties",
    "le",
    "veulent",
    ";",
]
LONG_PARAGRAPHS = 14
PAUSE_SECONDS = 0.25


def answer_to(question: str) -> str:
    """What this core answers."""
    opening = f"Réponse à {' '.join(question.split()[:2])} :"
    if "longuement" not in question:
        return f"{opening} {' '.join(WORDS)} **oui**."
    return "\n\n".join([opening, *(f"{number}. {' '.join(WORDS * 6)}" for number in range(LONG_PARAGRAPHS))])


class Core(AilingCore):
    """Writes answers piece by piece."""

    path = "/api/v1/chat"

    def __init__(self, *, pause: float = PAUSE_SECONDS) -> None:
        """``pause``: seconds between two pieces of an answer."""
        super().__init__()
        self._pause = pause

    async def generate(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        answer = answer_to(self._question(body))
        await begin_stream(writer)
        step = max(20, len(answer) // 12)
        for at in range(0, len(answer), step):
            await send_event(writer, {"delta": answer[at : at + step]})
            await asyncio.sleep(self._pause)
            if self.ailment in {"gone", "cut"}:
                return False
            if self.ailment == "error":
                await send_event(writer, error("generation_failed"), "error")
                return False
        await end_stream(writer, {"response": answer})
        return True

    def _question(self, body: dict[str, Any]) -> str:
        roles = [message["role"] for message in body["messages"]]
        expected = ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]
        if roles != expected or not all(message["content"] for message in body["messages"]):
            self.complaints.append(f"no conversation: {roles}")
        if body.get("stream") is not True or not 0 < body.get("max_tokens", 1) <= 4096:
            self.complaints.append("no stream, or a strange length")
        return str(body["messages"][-1]["content"])
