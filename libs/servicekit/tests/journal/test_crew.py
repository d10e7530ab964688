"""Workers that come and go: whatever happens to them, each message is handled, in order, by one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from journal_office import Office, open_office
from servicekit.journal.crew import Crew, Handle
from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane, LaneLost
from servicekit.journal.ledger import Ledger
from servicekit.journal.records import Entry, EntryState, Part, PartState
from servicekit.journal.wakeups import LocalWakeups

PATIENCE = 60.0


class Desk:
    """A crew at work, and what it did."""

    def __init__(self, office: Office, workers: int = 3, lease_seconds: float = 30.0) -> None:
        self.journal = Journal(office.database, office.tables, lease_seconds=lease_seconds)
        self.wakeups = LocalWakeups()
        self.done: list[str] = []
        self.done_now = asyncio.Event()
        self._workers = workers
        self._lease = lease_seconds

    @asynccontextmanager
    async def at_work(self, handle: Handle | None = None) -> AsyncIterator[Crew]:
        crew = Crew(
            self.journal,
            handle or self.finish_all,
            self.wakeups,
            workers=self._workers,
            lease_seconds=self._lease,
        )
        crew.start()
        try:
            yield crew
        finally:
            await crew.stop()

    async def receive(self, key: str, lane: str = "chat") -> None:
        await self.journal.receive(key, lane, b"")
        self.wakeups.ring()

    async def finish_all(self, lane: HeldLane) -> None:
        while (entry := await lane.due()) is not None:
            await lane.finish(entry)
            self.done.append(entry.key)
            self.done_now.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self.done_now.clear()
                await self.done_now.wait()


async def test_what_comes_in_is_handled(office: Office) -> None:
    desk = Desk(office)
    async with desk.at_work():
        for number in range(20):
            await desk.receive(f"{number:02}", f"lane {number % 4}")
        await desk.until(lambda: len(desk.done) == 20)
    for lane in range(4):
        mine = [key for key in desk.done if int(key) % 4 == lane]
        assert mine == sorted(mine)


async def test_a_worker_that_fails_leaves_its_entry_to_the_next(office: Office) -> None:
    desk = Desk(office, workers=1)

    async def handle(lane: HeldLane) -> None:
        entry = await lane.due()
        assert entry is not None
        if await lane.begin(entry) < 2:
            raise RuntimeError("the first attempt fails")
        await desk.finish_all(lane)

    async with desk.at_work(handle):
        await desk.receive("m1")
        await desk.until(lambda: desk.done == ["m1"])


async def test_a_worker_outlasts_whatever_happens_while_it_looks_for_work(office: Office) -> None:
    desk, raised = Desk(office, workers=1), asyncio.Event()

    def fail(*arguments: object) -> None:
        if "lanes" in str(arguments[2]) and not raised.is_set():
            raised.set()
            raise RuntimeError("nobody has thought of this")

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        async with desk.at_work():
            async with asyncio.timeout(PATIENCE):
                await raised.wait()
            await desk.receive("m1")
            await desk.until(lambda: desk.done == ["m1"])
    finally:
        event.remove(Engine, "before_cursor_execute", fail)


async def test_stopping_gives_lanes_back_at_once(office: Office) -> None:
    desk = Desk(office)
    working = asyncio.Event()

    async def handle(lane: HeldLane) -> None:
        working.set()
        await asyncio.Event().wait()

    async with desk.at_work(handle):
        await desk.receive("m1")
        async with asyncio.timeout(PATIENCE):
            await working.wait()
    held = await desk.journal.claim()
    assert held is not None


async def test_stopping_with_grace_lets_work_come_to_its_end(office: Office) -> None:
    desk = Desk(office)
    working, may_end = asyncio.Event(), asyncio.Event()

    async def handle(lane: HeldLane) -> None:
        working.set()
        await may_end.wait()
        await desk.finish_all(lane)

    async with desk.at_work(handle) as crew:
        await desk.receive("m1")
        async with asyncio.timeout(PATIENCE):
            await working.wait()
        stopping = asyncio.create_task(crew.stop(grace=PATIENCE))
        may_end.set()
        await stopping
    assert desk.done == ["m1"]


async def test_long_work_keeps_its_lane(office: Office) -> None:
    desk = Desk(office, lease_seconds=0.9)
    others: list[HeldLane | None] = []

    async def handle(lane: HeldLane) -> None:
        while len(others) < 3:
            # Longer than a lease: only renewing keeps the lane.
            await asyncio.sleep(1.0)
            others.append(await desk.journal.claim())
        await desk.finish_all(lane)

    async with desk.at_work(handle):
        await desk.receive("m1")
        await desk.until(lambda: desk.done == ["m1"])
    assert others == [None, None, None]


async def test_who_lost_the_lane_is_stopped(office: Office) -> None:
    desk = Desk(office, workers=1, lease_seconds=0.9)
    stopped = asyncio.Event()

    async def handle(lane: HeldLane) -> None:
        await Ledger(office.database, office.tables).forget(lane.name)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with desk.at_work(handle):
        await desk.receive("m1")
        async with asyncio.timeout(PATIENCE):
            await stopped.wait()


class Dice:
    """Decides where a worker dies or is overtaken."""

    def __init__(self, rolls: list[int]) -> None:
        self._rolls = rolls

    def says(self, what: int) -> bool:
        return bool(self._rolls) and self._rolls.pop() == what


DIES, OVERTAKEN = 1, 2


class Trial:
    """A journal whose workers die and are overtaken at places that the dice choose."""

    def __init__(self, office: Office, rolls: list[int]) -> None:
        self.office = office
        self.journal = Journal(office.database, office.tables, lease_seconds=0.0)
        self.outside: list[tuple[str, int]] = []
        """What others saw: (message, part)."""
        self._dice = Dice(rolls)

    async def run(self) -> None:
        while (held := await self.journal.claim()) is not None:
            with contextlib.suppress(_Died, LaneLost):
                await self._work(held)

    async def _work(self, held: HeldLane) -> None:
        while (entry := await held.due()) is not None:
            await held.begin(entry)
            await self._step()
            if entry.state is EntryState.OPEN:
                await held.answer(entry, [b"1", b"2"])
            for part in await held.parts(entry):
                if part.state is not PartState.SENT:
                    await self._send(held, entry, part)
            await held.finish(entry)

    async def _send(self, held: HeldLane, entry: Entry, part: Part) -> None:
        await self._step()
        sending = await held.sending(part)
        await self._step()
        await held.renew()
        self.outside.append((entry.key, part.number))
        await self._step()
        await held.sent(sending)

    async def _step(self) -> None:
        if self._dice.says(DIES):
            raise _Died
        if self._dice.says(OVERTAKEN):
            # The lease is over at once here, so anybody may claim the lane meanwhile.
            await self.journal.claim()

    async def repeats(self) -> int:
        async with self.office.database.reading() as connection:
            rows = await connection.execute(self.office.tables.parts.select())
            return sum(row.repeats for row in rows)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lanes=st.lists(st.integers(0, 2), min_size=1, max_size=6),
    rolls=st.lists(st.sampled_from([0, 0, 0, DIES, OVERTAKEN]), max_size=40),
)
async def test_whoever_dies_or_is_overtaken_each_message_gets_one_answer(
    tmp_path_factory: pytest.TempPathFactory, lanes: list[int], rolls: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    async with open_office(f"sqlite:///{folder}/journal.db") as office:
        trial = Trial(office, rolls)
        for number, lane in enumerate(lanes):
            await trial.journal.receive(f"m{number}", f"lane {lane}", b"")
        await trial.run()

        backlog = await office.ledger.backlog()
        assert (backlog.pending, backlog.unsent_parts, backlog.dead) == (0, 0, 0)
        expected = {(f"m{number}", part) for number in range(len(lanes)) for part in (0, 1)}
        assert set(trial.outside) == expected
        assert len(trial.outside) - len(expected) <= await trial.repeats()
        firsts = list(dict.fromkeys(trial.outside))
        for lane in set(lanes):
            mine = [key for key in firsts if lanes[int(key[0][1:])] == lane]
            assert mine == sorted(mine)


class _Died(Exception):
    """As if the process were gone."""
