"""POST /api/v1/models/pull: models come over HTTP, followed by whoever asks for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_core.access.caller import Scope
from ai_core.catalog.hub.orders import Terms
from ai_core.catalog.hub.puller import Puller
from ai_core.catalog.hub.pulls import Pulls
from ai_core.catalog.models import HubSource
from ai_core.catalog.places import hub_folder
from edge_server import FakeEngine, Server, checked_error, error_of, running_server
from fake_hub import FakeHub, Fault, fake_hub

BIG = bytes(range(256)) * 4_000
NAME = "owner/name"
PATH = "/api/v1/models/pull"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fake_hub() as hub:
        yield hub
        assert hub.refused == []


class Fetches:
    """The pulls of a server, and how often it was told that something has come."""

    def __init__(self, hub: FakeHub, models: Path, budget: int = 0) -> None:
        self.models = models
        self.known = 0
        self.pulls = Pulls(Puller(), Terms(models, hub.url, None, budget), self._fetched)

    async def _fetched(self) -> None:
        self.known += 1

    @property
    def opened(self) -> Path:
        return hub_folder(self.models, HubSource(NAME)) / "m.gguf"


@pytest.fixture
async def fetches(hub: FakeHub, tmp_path: Path) -> AsyncIterator[Fetches]:
    fetches = Fetches(hub, tmp_path / "models")
    yield fetches
    await fetches.pulls.close()


@pytest.fixture
async def server(fetches: Fetches) -> AsyncIterator[Server]:
    async with running_server(FakeEngine(), pulls=fetches.pulls) as server:
        yield server


@contextlib.asynccontextmanager
async def following(server: Server, name: str = NAME) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of a pull. Leaving the block hangs up."""
    async with server.client.stream("POST", PATH, json={"name": name}) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield (json.loads(line[6:]) async for line in response.aiter_lines() if line.startswith("data: "))


async def pull(server: Server, name: str = NAME) -> list[dict[str, Any]]:
    async with following(server, name) as events:
        return [event async for event in events]


async def test_events_tell_what_comes_how_far_it_is_and_that_it_is_there(
    server: Server, hub: FakeHub, fetches: Fetches
) -> None:
    hub.add(NAME, {"m.gguf": BIG})
    first, *others, last = await pull(server)
    assert first == {
        "name": NAME,
        "status": "planned",
        "choice": "m.gguf (1.0 MB).",
        "commit": hub.repositories[NAME].commit,
        "files": 1,
        "completed": 0,
        "total": len(BIG),
    }
    assert {event["status"] for event in others} <= {"downloading", "verifying"}
    assert others[-1].keys() == {
        *("name", "status", "file", "completed", "total", "bytes_per_second", "seconds_left")
    }
    assert last["status"] == "done"
    assert (last["type"], last["already_here"], last["total"]) == ("gguf", False, len(BIG))
    assert fetches.opened.read_bytes() == BIG
    assert fetches.known == 1
    assert (await pull(server))[-1]["already_here"]


async def test_who_asks_for_the_same_joins_and_one_who_leaves_breaks_nothing(
    server: Server, hub: FakeHub, fetches: Fetches
) -> None:
    hub.add(NAME, {"m.gguf": BIG})
    hub.faults.append(Fault(hang=300_000))
    async with following(server) as leaving:
        assert (await anext(leaving))["status"] == "planned"
        async with following(server) as staying:
            assert (await anext(staying))["status"] == "planned"
            await asyncio.to_thread(hub.waiting.wait)
            await leaving.aclose()  # type: ignore[attr-defined]
            assert fetches.pulls.count == 1
            hub.over.set()
            events = [event async for event in staying]
    assert events[-1]["status"] == "done"
    assert hub.ranges().count(None) == 1


async def test_a_pull_that_nobody_follows_stops_and_goes_on_another_time(
    server: Server, hub: FakeHub, fetches: Fetches
) -> None:
    hub.add(NAME, {"m.gguf": BIG})
    hub.faults.append(Fault(hang=600_000))
    async with following(server) as events:
        await anext(events)
        await asyncio.to_thread(hub.waiting.wait)
        await server.until(lambda: bool([*fetches.opened.parent.glob(".incoming/*.part")]))
    await server.until(lambda: fetches.pulls.count == 0)
    assert not fetches.opened.exists()
    again = await pull(server)
    assert again[-1]["status"] == "done"
    assert fetches.opened.read_bytes() == BIG


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        ("missing", 404, "not_at_hub"),
        ("gated", 502, "hub_refused"),
        ("empty", 400, "nothing_to_fetch"),
        ("large", 507, "disk_full"),
        ("refuses", 503, "hub_busy"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_before_any_event(
    server: Server, hub: FakeHub, problem: str, status: int, code: str
) -> None:
    match problem:
        case "gated":
            hub.add(NAME, {"config.json": b"{}", "m.gguf": b"small"}, token="hf_x", gated=True)
        case "empty":
            hub.add(NAME, {"README.md": b"x"})
        case "large":
            hub.add(NAME, {"m.gguf": BIG}, sizes={"m.gguf": 10**15})
        case "refuses":
            hub.add(NAME, {"m.gguf": BIG})
            hub.faults.append(Fault("list", status=429, headers={"Retry-After": "5000"}))
    response = await server.client.post(PATH, json={"name": NAME})
    if problem in {"gated", "large"} and response.status_code == 200:
        # It was planned before the file itself was refused.
        block = next(block for block in response.text.split("\n\n") if block.startswith("event: error"))
        error = checked_error(json.loads(block.partition("data: ")[2]))
    else:
        assert response.status_code == status, response.text
        error = error_of(response)
        assert response.headers.get("retry-after") == ("5000" if problem == "refuses" else None)
    assert error["code"] == code


async def test_what_comes_damaged_ends_the_stream_with_an_error(server: Server, hub: FakeHub) -> None:
    hub.add(NAME, {"m.gguf": BIG})
    hub.faults += [Fault(spoil=True)] * 2
    response = await server.client.post(PATH, json={"name": NAME})
    assert response.status_code == 200
    block = response.text.rstrip().split("\n\n")[-1]
    assert block.startswith("event: error\ndata: ")
    assert checked_error(json.loads(block.partition("data: ")[2]))["code"] == "checksum_mismatch"


async def test_only_what_the_key_may_use_is_fetched(server: Server, hub: FakeHub) -> None:
    hub.add(NAME, {"m.gguf": BIG})
    bound = {"X-API-Key": await server.new_key(Scope.MODELS_WRITE, allowed_models=["fake-model"])}
    refused = await server.client.post(PATH, json={"name": NAME}, headers=bound)
    assert (refused.status_code, error_of(refused)["code"]) == (404, "model_not_found")
    known = await server.client.post(PATH, json={"name": "fake-alias"}, headers=bound)
    assert (known.status_code, error_of(known)["code"]) == (400, "not_from_hub")
    for name, status in (("nothing", 404), ("", 400), ("a/../../b", 404)):
        assert (await server.client.post(PATH, json={"name": name})).status_code == status
    assert hub.seen == []


async def test_without_a_hub_the_route_says_so() -> None:
    async with running_server(FakeEngine()) as server:
        response = await server.client.post(PATH, json={"name": NAME})
        assert (response.status_code, error_of(response)["code"]) == (501, "not_configured")


async def test_a_server_that_stops_ends_the_stream_and_keeps_what_has_come(
    server: Server, hub: FakeHub, fetches: Fetches
) -> None:
    hub.add(NAME, {"m.gguf": BIG})
    hub.faults.append(Fault(hang=600_000))
    async with server.client.stream("POST", PATH, json={"name": NAME}) as response:
        lines = response.aiter_lines()
        await anext(lines)
        await asyncio.to_thread(hub.waiting.wait)
        await fetches.pulls.close()
        assert any("shutting down" in line for line in [line async for line in lines])
    assert httpx.codes.is_success(response.status_code)
