"""The AI core as the mail service sees it: quick, and away when it shall be."""

from __future__ import annotations

import asyncio
import json

from telegram_chaos.core import _FACTS, _REFUSALS, KEY, MODEL, Core, _error, _send_event, _send_json

__all__ = ["KEY", "MailCore"]
GENERATION_SECONDS = 0.6
ANSWER = "Le contrat de travail dure aussi longtemps que les deux parties le veulent : **oui**."


class MailCore(Core):
    """Writes whole answers."""

    async def _answer(
        self, writer: asyncio.StreamWriter, line: str, headers: dict[str, str], body: bytes
    ) -> bool:
        if headers.get("x-api-key") != KEY:
            self.complaints.append("a call without the key")
        if self.ailment == "gone":
            return False
        for path, value in _FACTS.items():
            if line.startswith(f"GET {path} "):
                return await _send_json(writer, 200, value)
        if not line.startswith("POST /api/v1/generate "):
            self.complaints.append(f"an unknown call: {line}")
            return await _send_json(writer, 404, _error("not_found"))
        if self.ailment in _REFUSALS:
            status, code, more = _REFUSALS[self.ailment]
            return await _send_json(writer, status, _error(code), more)
        self.asked += 1
        mail = json.loads(body).get("email_context", {})
        await self._write(writer, str(mail.get("subject", "")))
        return False

    async def _write(self, writer: asyncio.StreamWriter, subject: str) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            b"connection: close\r\n\r\n"
        )
        await _send_event(writer, {"delta": ANSWER[:20]})
        await asyncio.sleep(GENERATION_SECONDS)
        if self.ailment in {"gone", "cut"}:
            return
        if self.ailment == "error":
            await _send_event(writer, _error("generation_failed"), "error")
            return
        end = {
            "response": ANSWER,
            "model": MODEL,
            "finish_reason": "stop",
            "suggested_subject": f"Re: {subject}",
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_prompt_tokens": 0},
        }
        await _send_event(writer, end)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
