"""What an answer costs that was given before, and what fifty who ask the same at once cost together."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from loadtests.bench import redis_server
from loadtests.bench.client import Chat, ask, connect
from loadtests.bench.loads import Figures, words
from loadtests.bench.servers import Server, neo
from loadtests.bench.statistics import median, percentile

HITS = 1_000
WARM_UP = 100
AT_ONCE = 50
TOKENS = 24
LONG_TOKENS = 200
_GENERATED = "neo_generated_tokens_total"


def measure(model: Path, log: Path) -> Figures:
    """Milliseconds of a hit, one after the other, with the cache in process and in Redis; and the tokens
    that the engine generated for 50 at once, divided by those of one answer."""
    with neo(model, log) as server:
        figures = {"miss_ms": _first(server, TOKENS)} | _hits(server, "", TOKENS)
        _first(server, LONG_TOKENS)
        figures |= _hits(server, f"_of_{LONG_TOKENS}_tokens", LONG_TOKENS)
        figures |= asyncio.run(_single_flight(server))
    if redis_server.available():
        with redis_server.redis() as url, neo(model, log, REDIS_URL=url) as server:
            _first(server, TOKENS)
            figures |= _hits(server, "_redis", TOKENS)
    return figures


def _body(tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": words(60, tokens)}]
    return {"messages": messages, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}


def _first(server: Server, tokens: int) -> float:
    with httpx.Client(base_url=server.url, headers=server.headers, trust_env=False, timeout=600) as client:
        began = time.perf_counter()
        answer = client.post("/api/v1/chat", json=_body(tokens)).raise_for_status()
        if answer.json()["cached"]:
            raise RuntimeError("the first answer was in the cache")
        return (time.perf_counter() - began) * 1e3


def _hits(server: Server, suffix: str, tokens: int) -> Figures:
    body = _body(tokens)
    milliseconds = []
    with httpx.Client(base_url=server.url, headers=server.headers, trust_env=False, timeout=600) as client:
        for number in range(WARM_UP + HITS):
            began = time.perf_counter()
            answer = client.post("/api/v1/chat", json=body)
            if number >= WARM_UP:
                milliseconds.append((time.perf_counter() - began) * 1e3)
            if answer.headers.get("x-neo-cache") != "hit":
                raise RuntimeError(f"no hit: {answer.status_code}")
    return {
        f"cache_hit{suffix}_p50_ms": median(milliseconds),
        f"cache_hit{suffix}_p99_ms": percentile(milliseconds, 99),
    }


async def _single_flight(server: Server) -> Figures:
    """All stream, as users of a chat do."""
    chat = Chat([{"role": "user", "content": words(60, 1)}], tokens=TOKENS)
    async with connect(server.url, server.headers) as client:
        before = await _generated(client)
        began = time.perf_counter()
        exchanges = await asyncio.gather(*(ask(client, chat) for _ in range(AT_ONCE)))
        elapsed = time.perf_counter() - began
        generated = await _generated(client) - before
    answered = [exchange for exchange in exchanges if exchange.answered]
    return {
        "single_flight_answered": len(answered),
        "single_flight_tokens_over_one": generated / TOKENS,
        "single_flight_s": elapsed,
        "single_flight_ttft_p95_ms": percentile([e.time_to_first_token * 1e3 for e in answered], 95),
    }


async def _generated(client: httpx.AsyncClient) -> float:
    text = (await client.get("/api/v1/metrics")).raise_for_status().text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(_GENERATED))
