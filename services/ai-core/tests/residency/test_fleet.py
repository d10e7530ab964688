"""Many models, and memory for some of them: over engine processes that do what a test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from ai_core.catalog.models import ModelEntry
from ai_core.engine.messages import EngineConfig, Submit
from ai_core.engine_client.port import Answer
from ai_core.errors import EngineUnavailable, ModelBusy
from ai_core.residency.backoff import RestartPolicy
from ai_core.residency.fleet import Fleet
from ai_core.residency.fleet_settings import FleetSettings
from ai_core.residency.life import Patience
from ai_core.residency.planning import Turns
from ai_core.residency.spawn import EngineSpawner

TextOf = Callable[[Answer], Coroutine[Any, Any, str]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
SIZE = 67_000_000
"""What a model of these tests is estimated and measured to hold, with its margin."""
ONE, TWO = SIZE * 3 // 2, SIZE * 5 // 2
"""Budgets for so many of them."""


class MovableClock:
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Models(Fleet):
    """A fleet with short words for what the tests say again and again."""

    def put(self, name: str, loads: str = "well", **facts: Any) -> None:
        """A model; ``loads`` as the fake engine understands it."""
        config = EngineConfig(backend="scripted", model_path=loads, max_sequences=4)
        self.add(ModelEntry(name, Path(loads), **facts), config)

    async def begin(self, name: str, prompt: str, patience: float | None = 20.0) -> Answer:
        return await self.engine(name).submit(Submit(id=0, prompt=prompt, timeout=patience))

    async def ask(self, name: str, prompt: str = "Bonjour", patience: float | None = 20.0) -> str:
        answer = await self.begin(name, prompt, patience)
        return "".join([event.text async for event in answer])

    @property
    def resident(self) -> set[str]:
        return {name for name, engine in self.engines.items() if engine.state == "ready"}


MakeFleet = Callable[..., Models]


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def make_fleet(spawner: EngineSpawner, clock: MovableClock) -> AsyncIterator[MakeFleet]:
    fleets: list[Models] = []
    children_before = psutil.Process().children()

    def make(*names: str, budget: int = 0, park_after: int = 5, **settings: Any) -> Models:
        settings.setdefault("turns", Turns(0.3))
        fleet = Models(
            spawner,
            FleetSettings(
                budget=budget,
                patience=Patience(ready=20.0, silent=20.0, silent_loading=20.0, shutdown=5.0),
                restart_policy=RestartPolicy(delays=(0.0,), park_after=park_after, cool_down=3600.0),
                **settings,
            ),
            clock=clock,
            measure=lambda _pid, _files: SIZE * 15 // 16,
        )
        for name in names:
            fleet.put(name)
        fleets.append(fleet)
        return fleet

    yield make
    await asyncio.gather(*(fleet.close() for fleet in fleets))
    assert psutil.Process().children() == children_before


async def test_models_are_loaded_when_they_are_asked_and_stay_while_there_is_room(
    make_fleet: MakeFleet,
) -> None:
    fleet = make_fleet("a", "b", "c", budget=TWO)
    assert fleet.resident == set()
    assert [await fleet.ask(name) for name in "abab"] == ["Bonjour"] * 4
    assert fleet.resident == {"a", "b"}
    assert fleet.metrics.loads.labels("a", "ready")._value.get() == 1


async def test_the_one_unused_for_longest_leaves_for_another(
    make_fleet: MakeFleet, clock: MovableClock
) -> None:
    fleet = make_fleet("a", "b", "c", budget=TWO)
    # How long each took to load counts as well, but not by a factor of fifty.
    for name, pause in (("a", 60), ("b", 3_000), ("a", 60), ("c", 60)):
        await fleet.ask(name)
        clock.ahead += pause
    assert fleet.resident == {"a", "c"}


async def test_a_busy_model_is_not_put_out_and_whoever_needs_its_room_is_told_when_to_come_back(
    make_fleet: MakeFleet, text_of: TextOf
) -> None:
    fleet = make_fleet("a", "b", budget=ONE)
    working = await fleet.begin("a", "hold 3")
    with pytest.raises(EngineUnavailable, match="memory") as refused:
        await fleet.ask("b", patience=0.4)
    assert (refused.value.code, refused.value.retry_after) == ("no_room", 2)
    assert "'a'" not in refused.value.message
    assert fleet.resident == {"a"}
    working.cancel()
    assert await fleet.ask("b") == "Bonjour"
    assert fleet.resident == {"b"}


async def test_requests_that_come_while_a_model_loads_share_the_load(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("a", budget=ONE)
    assert await asyncio.gather(*(fleet.ask("a", str(n)) for n in range(8))) == [str(n) for n in range(8)]
    assert fleet.metrics.loads.labels("a", "ready")._value.get() == 1


async def test_whose_patience_ends_while_a_model_loads_learns_how_far_it_is(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(budget=ONE)
    fleet.put("a", "forever")
    with pytest.raises(EngineUnavailable, match=r"loading \((0|25)%\)") as refused:
        await fleet.ask("a", patience=0.5)
    assert refused.value.code == "model_loading"
    assert refused.value.retry_after is not None


async def test_a_model_that_can_never_fit_is_refused_with_the_figures_and_nobody_leaves(
    make_fleet: MakeFleet,
) -> None:
    fleet = make_fleet("a", budget=ONE)
    fleet.put("bounded", max_memory=50_000_000)
    await fleet.ask("a")
    with pytest.raises(EngineUnavailable, match=r"0\.07 GB .*'max_memory' is 0\.05 GB") as refused:
        await fleet.ask("bounded")
    assert (refused.value.code, refused.value.retry_after) == ("model_too_large", None)
    assert fleet.resident == {"a"}


async def test_pinned_models_are_loaded_at_the_start_and_stay(
    make_fleet: MakeFleet, clock: MovableClock, until: Until
) -> None:
    fleet = make_fleet("b", "c", budget=TWO, keep_alive=60.0)
    fleet.put("a", pinned=True)
    fleet.put("d", preload=True)
    fleet.preload()
    await until(lambda: fleet.resident == {"a", "d"})
    clock.ahead += 3600
    for name in "bcb":
        await fleet.ask(name)
        clock.ahead += 3600
    assert fleet.resident == {"a", "b"}
    fleet.put("e", pinned=True)
    await fleet.ask("e")
    with pytest.raises(EngineUnavailable, match="beside pinned models"):
        await fleet.ask("b")


async def test_alternating_requests_for_two_models_that_do_not_fit_together_are_grouped(
    make_fleet: MakeFleet,
) -> None:
    """Without turns, each of them would need a load of its own."""
    fleet = make_fleet("a", "b", budget=ONE)

    async def visitor(number: int) -> None:
        for turn in range(10):
            assert await fleet.ask("ab"[(number + turn) % 2], "x", patience=60.0) == "x"

    await asyncio.gather(*(visitor(number) for number in range(8)))
    loads = sum(fleet.metrics.loads.labels(name, "ready")._value.get() for name in "ab")
    assert 2 <= loads <= 20, f"80 requests took {loads} loads"
    families = {family.name: family for family in fleet.metrics.families()}
    switches = [s.value for s in families["neo_model_switch_seconds"].samples if s.name.endswith("_count")]
    assert sum(switches) >= loads - 2
    assert fleet.metrics.evictions.labels("a", "room")._value.get() > 0


async def test_a_steady_user_of_one_model_does_not_keep_another_one_waiting_for_ever(
    make_fleet: MakeFleet,
) -> None:
    fleet = make_fleet("a", "b", budget=ONE)
    served = asyncio.Event()

    async def steady() -> None:
        while not served.is_set():
            await fleet.ask("a", "xxx", patience=60.0)

    users = [asyncio.create_task(steady()) for _ in range(3)]
    await fleet.ask("a")
    assert await fleet.ask("b", patience=60.0) == "Bonjour"
    served.set()
    await asyncio.gather(*users)


async def test_unused_models_leave_when_their_time_is_over(
    make_fleet: MakeFleet, clock: MovableClock, until: Until
) -> None:
    fleet = make_fleet("a", keep_alive=300.0)
    fleet.put("short", keep_alive=60.0)
    fleet.put("for ever", keep_alive=-1.0)
    for name in ("a", "short", "for ever"):
        await fleet.ask(name)
    clock.ahead += 100
    fleet.look()
    await until(lambda: fleet.resident == {"a", "for ever"})
    working = await fleet.begin("a", "hold 3")
    clock.ahead += 1000
    fleet.look()
    assert fleet.resident == {"a", "for ever"}
    working.cancel()
    clock.ahead += 299
    fleet.look()
    await asyncio.sleep(0)
    assert fleet.resident == {"a", "for ever"}
    clock.ahead += 2
    fleet.look()
    await until(lambda: fleet.resident == {"for ever"})


async def test_a_request_says_how_long_its_model_stays(
    make_fleet: MakeFleet, clock: MovableClock, until: Until
) -> None:
    fleet = make_fleet("a", "b", "c", keep_alive=300.0)
    for name, keep_alive in (("a", 0.0), ("b", -1.0), ("c", None)):
        with fleet.engine(name).visit(keep_alive):
            assert await fleet.ask(name) == "Bonjour"
    await until(lambda: fleet.resident == {"b", "c"})
    clock.ahead += 3600
    fleet.look()
    await until(lambda: fleet.resident == {"b"})


async def test_a_model_does_not_leave_under_a_request_that_does_not_need_its_engine_just_now(
    make_fleet: MakeFleet, clock: MovableClock
) -> None:
    fleet = make_fleet("a", keep_alive=1.0)
    await fleet.ask("a")
    pid = fleet.engine("a").pid
    with fleet.engine("a").visit(None):
        clock.ahead += 3600
        fleet.look()
        await fleet.ask("a")
        assert fleet.engine("a").pid == pid


async def test_loading_and_unloading_may_be_asked_again_and_again(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("a")
    await fleet.unload("a", 5)
    ready = [await fleet.engine("a").load(20) for _ in range(2)]
    assert ready[0] == ready[1]
    await asyncio.gather(*(fleet.unload("a", 20) for _ in range(3)))
    await fleet.unload("a", 5)
    assert fleet.resident == set()
    assert fleet.metrics.evictions.labels("a", "asked")._value.get() == 1


async def test_unloading_waits_for_answers_and_who_comes_meanwhile_loads_the_model_again(
    make_fleet: MakeFleet, text_of: TextOf
) -> None:
    fleet = make_fleet("a")
    working = await fleet.begin("a", "count 200")
    first = fleet.engine("a").pid
    unloading = asyncio.create_task(fleet.unload("a", 20))
    await asyncio.sleep(0)
    newcomer = asyncio.create_task(fleet.ask("a"))
    assert await text_of(working) == "x" * 200
    await unloading
    assert await newcomer == "Bonjour"
    assert fleet.engine("a").pid != first


async def test_a_model_that_answers_on_stays_unless_it_is_forced_out(
    make_fleet: MakeFleet, text_of: TextOf
) -> None:
    fleet = make_fleet("a")
    working = await fleet.begin("a", "hold 3")
    with pytest.raises(ModelBusy, match="still answering 1 request"):
        await fleet.unload("a", 0.1)
    assert await fleet.ask("a") == "Bonjour"
    await fleet.unload("a", 20, force=True)
    with pytest.raises(EngineUnavailable, match="shut down"):
        await text_of(working)
    assert fleet.resident == set()


async def test_a_changed_model_ends_its_work_as_it_began_and_goes_on_in_the_new_way(
    make_fleet: MakeFleet, text_of: TextOf
) -> None:
    fleet = make_fleet("a")
    engine = fleet.engine("a")
    working = await fleet.begin("a", "count 200")
    old = engine.pid
    changed = EngineConfig(backend="scripted", model_path="well", max_sequences=2)
    assert fleet.replace(ModelEntry("a", Path("well")), changed) is engine
    newcomer = asyncio.create_task(fleet.ask("a"))
    assert await text_of(working) == "x" * 200
    assert await newcomer == "Bonjour"
    assert engine.pid != old
    assert engine.ready is not None
    assert engine.ready.max_sequences == 2


async def test_where_only_the_operators_wishes_change_no_process_ends(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("a")
    await fleet.ask("a")
    engine = fleet.engine("a")
    pid = engine.pid
    fleet.replace(ModelEntry("a", Path("well"), pinned=True), engine.supervised.config)
    assert await fleet.ask("a") == "Bonjour"
    assert (engine.pid, engine.keep_alive) == (pid, -1.0)


async def test_a_removed_model_answers_who_is_there_and_its_name_is_free(
    make_fleet: MakeFleet, text_of: TextOf, until: Until
) -> None:
    fleet = make_fleet("a", budget=TWO)
    working = await fleet.begin("a", "count 300")
    removed = fleet.engine("a")
    fleet.remove("a")
    fleet.put("a")
    assert await fleet.ask("a") == "Bonjour"
    assert await text_of(working) == "x" * 300
    await until(lambda: len(fleet.standings()) == 1)
    assert removed.pid is None
    with pytest.raises(EngineUnavailable, match="shut down"):
        await removed.submit(Submit(id=0, prompt="x"))


async def test_a_crash_loop_parks_its_model_and_touches_no_other(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("good", park_after=2)
    fleet.put("bad", "crash")
    fleet.put("broken", "fail")
    await fleet.ask("good")
    pid = fleet.engine("good").pid
    for name, why in (("bad", "ended too often"), ("broken", "The file is broken")):
        with pytest.raises(EngineUnavailable, match=why) as refused:
            await fleet.ask(name)
        assert refused.value.code == "model_parked"
        assert fleet.engine(name).refusal is not None
        assert fleet.engine(name).memory_bytes == 0
    assert fleet.engine("good").refusal is None
    assert fleet.engine("good").pid == pid
    assert await fleet.ask("good") == "Bonjour"


async def test_a_parked_model_that_is_configured_anew_is_tried_at_once(make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    fleet.put("a", "fail")
    with pytest.raises(EngineUnavailable, match="broken"):
        await fleet.ask("a")
    fleet.replace(ModelEntry("a", Path("well")), EngineConfig(backend="scripted", model_path="well"))
    assert await fleet.ask("a") == "Bonjour"


async def test_the_cores_are_shared_among_those_who_compute(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("a", "b", cores=4)

    async def comes_to(threads: str) -> None:
        async with asyncio.timeout(60):
            while await fleet.ask("a", "threads") != threads:
                pass

    await fleet.ask("a")
    await comes_to("4/4")
    working = await fleet.begin("b", "hold 3")
    await comes_to("2/2")
    working.cancel()
    await comes_to("4/4")


async def test_whoever_leaves_while_waiting_for_room_leaves_nothing_behind(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("a", "b", budget=ONE)
    working = await fleet.begin("a", "hold 3")
    waiting = asyncio.create_task(fleet.ask("b"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert [(s.users, s.waiting_since) for s in fleet.standings()] == [(1, None), (0, None)]
    await asyncio.sleep(0.5)
    assert fleet.engine("a").closed is False
    working.cancel()


async def test_models_that_crash_are_counted_until_they_are_gone(make_fleet: MakeFleet, until: Until) -> None:
    fleet = make_fleet("a", "b", budget=ONE)
    with pytest.raises(EngineUnavailable, match="crashed"):
        await fleet.ask("a", "abort 1")
    assert await fleet.ask("b") == "Bonjour"
    assert await fleet.ask("a") == "Bonjour"
    await until(lambda: fleet.resident == {"a"})
