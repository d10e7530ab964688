"""What the HTTP edge costs, over an engine that answers at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from ai_core.engine.messages import EngineConfig
from loadtests.bench import redis_server
from loadtests.bench.engine_process import engine
from loadtests.bench.servers import Server, neo
from loadtests.bench.statistics import median, percentile

TEXT = "ok"
ROUND_TRIPS = 2_000
WARM_UP = 200
REQUESTS = 10_000
AT_ONCE = 8
_BODY = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 16}


def measure(log: Path) -> dict[str, float]:
    """Added milliseconds at the median and the 99th percentile, one request after the other, and the
    growth of the API process over 10,000 requests. What keys, limits and the log cost is the difference
    between a route that needs none of them and one that computes as little: with the embedded default,
    and again with limits in a Redis."""
    with engine(EngineConfig(backend="scripted", model_path="none")) as direct:
        direct.round_trips(WARM_UP, TEXT)
        bare = [seconds * 1e3 for seconds in direct.round_trips(ROUND_TRIPS, TEXT)]
    with neo(Path(__file__), log, ENGINE_BACKEND="scripted") as server:
        served = _round_trips(server)
        access = _access_cost(server)
        growth = asyncio.run(_growth(server))
    return {
        "engine_p50_ms": median(bare),
        "engine_p99_ms": percentile(bare, 99),
        "http_p50_ms": median(served),
        "http_p99_ms": percentile(served, 99),
        "added_p50_ms": median(served) - median(bare),
        "added_p99_ms": percentile(served, 99) - percentile(bare, 99),
        "access_p50_ms": access,
        **growth,
        **_with_redis(log),
    }


def _with_redis(log: Path) -> dict[str, float]:
    if not redis_server.available():
        return {}
    with (
        redis_server.redis() as url,
        neo(Path(__file__), log, ENGINE_BACKEND="scripted", REDIS_URL=url) as server,
    ):
        return {"access_p50_redis_ms": _access_cost(server)}


def _access_cost(server: Server) -> float:
    """Milliseconds at the median; both routes in turn, so that a drifting machine hurts both alike."""
    milliseconds: dict[str, list[float]] = {"/livez": [], "/api/v1/models": []}
    with httpx.Client(base_url=server.url, headers=_limited(server), trust_env=False) as client:
        for number in range(WARM_UP + ROUND_TRIPS):
            for path, spent in milliseconds.items():
                began = time.perf_counter()
                client.get(path).raise_for_status()
                if number >= WARM_UP:
                    spent.append((time.perf_counter() - began) * 1e3)
    return median(milliseconds["/api/v1/models"]) - median(milliseconds["/livez"])


def _limited(server: Server) -> dict[str, str]:
    """A key with limits that nobody reaches; the server's own has none, so nothing is counted for it."""
    wish = {"name": "bench", "scopes": ["models:read"], "requests_per_minute": 1_000_000}
    made = httpx.post(server.url + "/api/v1/admin/keys", json=wish, headers=server.headers, trust_env=False)
    made.raise_for_status()
    return {"X-API-Key": made.json()["key"]}


def _round_trips(server: Server) -> list[float]:
    milliseconds = []
    with httpx.Client(base_url=server.url, headers=server.headers, trust_env=False) as client:
        for number in range(WARM_UP + ROUND_TRIPS):
            began = time.perf_counter()
            client.post("/api/v1/chat", json=_BODY).raise_for_status()
            if number >= WARM_UP:
                milliseconds.append((time.perf_counter() - began) * 1e3)
    return milliseconds


async def _growth(server: Server) -> dict[str, float]:
    """Resident memory of the API process after 100 and after 10,000 further requests."""
    async with httpx.AsyncClient(
        base_url=server.url, headers=server.headers, trust_env=False, timeout=60
    ) as client:
        await _send(client, 100)
        early = _resident_kib(server.process.pid)
        began = time.perf_counter()
        await _send(client, REQUESTS - 100)
        elapsed = time.perf_counter() - began
        late = _resident_kib(server.process.pid)
    return {
        "rss_after_100_mib": early / 1024,
        "rss_after_10000_mib": late / 1024,
        "rss_ratio": late / early,
        "requests_per_second": (REQUESTS - 100) / elapsed,
    }


async def _send(client: httpx.AsyncClient, count: int) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            (await client.post("/api/v1/chat", json=_BODY)).raise_for_status()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no VmRSS")
