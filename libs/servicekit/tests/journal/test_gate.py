"""Work gives way to what comes in, and never stands still for it."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal_office import Office
from servicekit.journal.crew import Crew
from servicekit.journal.gate import QUIET_SECONDS, Gate
from servicekit.journal.journal import Journal
from servicekit.journal.lane import HeldLane
from servicekit.journal.wakeups import LocalWakeups

PER_SECOND = 30.0
PATIENCE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_in_quiet_times_work_begins_at_once() -> None:
    gate = Gate(PER_SECOND, Clock())
    for _ in range(100):
        assert gate.wait() == 0.0
        gate.begun()


def test_when_nothing_comes_any_more_nobody_waits() -> None:
    clock = Clock()
    gate = Gate(0.1, clock)
    gate.came()
    gate.begun()
    assert gate.wait() == pytest.approx(10.0)
    clock.now += QUIET_SECONDS
    assert gate.wait() == 0.0


@given(st.lists(st.floats(0.0, QUIET_SECONDS * 0.9), min_size=2, max_size=50))
def test_while_messages_come_in_work_begins_at_its_pace_and_no_slower(gaps: list[float]) -> None:
    clock = Clock()
    gate = Gate(PER_SECOND, clock)
    begun: list[float] = []
    for gap in gaps:
        gate.came()
        clock.now += gap
        wait = gate.wait()
        assert wait <= 1 / PER_SECOND + 1e-9
        if wait == 0.0:
            gate.begun()
            begun.append(clock.now)
    assert begun
    assert all(later - earlier >= 1 / PER_SECOND - 1e-9 for earlier, later in pairwise(begun))


async def test_a_crew_behind_a_gate_does_all_its_work_while_messages_keep_coming(office: Office) -> None:
    journal, wakeups, gate = Journal(office.database, office.tables), LocalWakeups(), Gate(100.0)
    done: list[str] = []
    all_done = asyncio.Event()

    async def finish(lane: HeldLane) -> None:
        while (entry := await lane.due()) is not None:
            await lane.finish(entry)
            done.append(entry.key)
            gate.came()
        if len(done) == 10:
            all_done.set()

    for number in range(10):
        await journal.receive(f"{number}", f"lane {number}", b"")
    gate.came()
    crew = Crew(journal, finish, wakeups, workers=3, gate=gate)
    crew.start()
    async with asyncio.timeout(PATIENCE):
        await all_done.wait()
    await crew.stop()
    assert sorted(done) == [f"{number}" for number in range(10)]
