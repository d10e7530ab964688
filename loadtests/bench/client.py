"""A client of OpenAI's chat route that notes when each piece of an answer arrives."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from loadtests.bench.statistics import Exchange


@dataclass(frozen=True)
class Chat:
    """One request. It always asks for exactly ``tokens`` new tokens, greedily."""

    messages: list[dict[str, str]]
    tokens: int = 24
    extra: dict[str, object] = field(default_factory=dict)

    def body(self) -> dict[str, object]:
        return {
            "messages": self.messages,
            "max_tokens": self.tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.extra,
        }


@asynccontextmanager
async def connect(url: str, headers: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=url, timeout=1800, limits=limits, headers=headers, trust_env=False
    ) as client:
        yield client


async def ask(
    client: httpx.AsyncClient, chat: Chat, on_chunk: Callable[[Exchange], bool] = lambda _: False
) -> Exchange:
    """Send one request and read its stream.

    Args:
        client: connected to a server.
        chat: what to ask.
        on_chunk: called after each piece; True leaves, as a user who closes the page.
    """
    exchange = Exchange(sent=time.perf_counter())
    try:
        async with client.stream("POST", "/v1/chat/completions", json=chat.body()) as response:
            exchange.status = response.status_code
            if response.status_code != 200:
                exchange.error = (await response.aread()).decode(errors="replace")[:200]
                return exchange
            await _read(response, exchange, on_chunk)
    except httpx.HTTPError as error:
        exchange.error = type(error).__name__
    return exchange


async def _read(response: httpx.Response, exchange: Exchange, on_chunk: Callable[[Exchange], bool]) -> None:
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            exchange.done = time.perf_counter()
            return
        event = json.loads(data)
        if "error" in event:
            exchange.error = json.dumps(event["error"])[:200]
            return
        _note(event, exchange)
        if on_chunk(exchange):
            return


def _note(event: dict[str, object], exchange: Exchange) -> None:
    usage = event.get("usage")
    if isinstance(usage, dict):
        exchange.prompt_tokens = usage["prompt_tokens"]
        exchange.completion_tokens = usage["completion_tokens"]
    for choice in event.get("choices") or []:  # type: ignore[attr-defined]
        if choice.get("delta", {}).get("content"):
            exchange.chunks.append(time.perf_counter())


async def ask_all(client: httpx.AsyncClient, chats: list[Chat], at_once: int) -> list[Exchange]:
    """Send requests, so many at a time; each client sends its next when its answer is complete."""
    gate = asyncio.Semaphore(at_once)

    async def one(chat: Chat) -> Exchange:
        async with gate:
            return await ask(client, chat)

    return await asyncio.gather(*(one(chat) for chat in chats))
