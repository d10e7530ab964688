"""How the AI core is spoken to."""

from __future__ import annotations

from servicekit.ai_core.client import AiCore
from servicekit.ai_core.requests import Answer, ChatRequest, Message
from telegram_chaos.core import KEY, Core, answer_to


async def test_one_answer_after_the_other_comes_over_the_same_connection() -> None:
    async with Core(pause=0.0).listening() as core, AiCore(core.url, KEY) as ai_core:
        for question in ("Bonjour à tous", "Et après ?", "Merci bien"):
            request = ChatRequest(messages=[Message("system", "Neo."), Message("user", question)])
            items = [item async for item in ai_core.chat(request)]
            assert isinstance(items[-1], Answer)
            assert items[-1].response == answer_to(question)
        assert core.connections == 1
        assert not core.complaints
