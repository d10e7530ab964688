"""More than can be served: what becomes of those who are admitted, and of those who are not.

1× is the rate of arrivals that fills the engine: as many callers as it has sequences, each of whom comes with
the next request when the last one is answered. At 3×, three times as many arrive per second, evenly spaced,
and do not wait for answers, as strangers do not.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.bench.client import connect
from loadtests.bench.loads import Figures, words
from loadtests.bench.servers import PARALLEL, Server, neo
from loadtests.bench.statistics import median, percentile

QUEUE = 2
"""Short: by Little's law, who is admitted to a full house takes (sequences + queue) ÷ rate."""
WARM_UP_SECONDS = 10.0
LOAD_SECONDS = 40.0
RETURN_SECONDS = 15.0
WORDS, TOKENS = 40, 24
OVERLOAD = 3.0


@dataclass(slots=True)
class Visit:
    """One request, until it is answered or its caller gives up. Times in seconds."""

    began: float
    latency: float | None = None
    """Of the attempt that was admitted."""
    refused_at: float | None = None
    told: float = 0.0
    """The first ``Retry-After``."""
    admitted_after: float | None = None
    """From the first refusal to the attempt that was admitted."""
    attempts: int = 0
    error: str = ""


def measure(model: Path, log: Path) -> Figures:
    """Latencies in seconds, and how true ``Retry-After`` is for those who keep to it."""
    settings = {"MAX_QUEUED_REQUESTS": str(QUEUE), "MAX_QUEUED_REQUESTS_PER_KEY": str(QUEUE)}
    with neo(model, log, **settings) as server:
        return asyncio.run(_measure(server))


async def _measure(server: Server) -> Figures:
    prompts = (words(WORDS, seed) for seed in itertools.count(1))
    async with connect(server.url, server.headers) as client:
        await _fill(client, prompts, WARM_UP_SECONDS)
        full = await _fill(client, prompts, LOAD_SECONDS)
        capacity = len(full) / (full[-1].began - full[0].began)
        over = await _arrive(client, prompts, OVERLOAD * capacity, LOAD_SECONDS)
        obedient = await _arrive(client, prompts, OVERLOAD * capacity, RETURN_SECONDS, returning=True)
    return {
        "capacity_per_second": capacity,
        **_of_admitted("1x", full),
        **_of_admitted("3x", over),
        "3x_over_1x_p50": median(_latencies(over)) / median(_latencies(full)),
        "3x_over_1x_p95": percentile(_latencies(over), 95) / percentile(_latencies(full), 95),
        **_of_returning(obedient),
        "errors": float(sum(bool(visit.error) for visit in (*full, *over, *obedient))),
    }


async def _fill(client: httpx.AsyncClient, prompts: Iterator[str], seconds: float) -> list[Visit]:
    """Requests one after the other in as many lines as there are sequences, in the order of their arrival."""
    visits: list[Visit] = []
    end = time.perf_counter() + seconds

    async def line() -> None:
        while time.perf_counter() < end:
            visits.append(Visit(time.perf_counter()))
            await _attempt(client, next(prompts), visits[-1])

    await asyncio.gather(*(line() for _ in range(PARALLEL)))
    return visits


async def _arrive(
    client: httpx.AsyncClient, prompts: Iterator[str], rate: float, seconds: float, *, returning: bool = False
) -> list[Visit]:
    """So many requests per second; returns when all have ended."""
    visits: list[Visit] = []
    tasks = []
    began = time.perf_counter()
    due = began
    while due - began < seconds:
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        visits.append(Visit(time.perf_counter()))
        tasks.append(asyncio.create_task(_visit(client, next(prompts), visits[-1], returning=returning)))
        due += 1 / rate
    await asyncio.gather(*tasks)
    return visits


async def _visit(client: httpx.AsyncClient, prompt: str, visit: Visit, *, returning: bool) -> None:
    while True:
        wait = await _attempt(client, prompt, visit)
        if wait is None or not returning:
            return
        await asyncio.sleep(wait)


async def _attempt(client: httpx.AsyncClient, prompt: str, visit: Visit) -> float | None:
    """What ``Retry-After`` says, if the request was refused."""
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
    }
    visit.attempts += 1
    sent = time.perf_counter()
    try:
        response = await client.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as error:
        visit.error = type(error).__name__
        return None
    now = time.perf_counter()
    if response.status_code == 200:
        visit.latency = now - sent
        visit.admitted_after = None if visit.refused_at is None else sent - visit.refused_at
        return None
    if response.status_code != 429:
        visit.error = response.text[:200]
        return None
    wait = float(response.headers["retry-after"])
    if visit.refused_at is None:
        visit.refused_at, visit.told = now, wait
    return wait


def _latencies(visits: list[Visit]) -> list[float]:
    return [visit.latency for visit in visits if visit.latency is not None]


def _of_admitted(name: str, visits: list[Visit]) -> Figures:
    latencies = _latencies(visits)
    told = [visit.told for visit in visits if visit.refused_at is not None]
    return {
        f"{name}_requests": float(len(visits)),
        f"{name}_admitted": float(len(latencies)),
        f"{name}_latency_p50_s": median(latencies),
        f"{name}_latency_p95_s": percentile(latencies, 95),
        f"{name}_retry_after_p50_s": median(told),
    }


def _of_returning(visits: list[Visit]) -> Figures:
    """For those who were refused at first and came back when told: how long it was until they got in,
    compared with what they were told first."""
    back = [visit for visit in visits if visit.admitted_after is not None]
    ratios = [(visit.admitted_after or 0.0) / visit.told for visit in back]
    within = sum(0.5 <= ratio <= 2 for ratio in ratios)
    return {
        "returned": float(len(back)),
        "returned_attempts_mean": sum(visit.attempts for visit in back) / max(len(back), 1),
        "wait_over_retry_after_p50": median(ratios),
        "retry_after_within_factor_two": within / max(len(back), 1),
    }
