"""What the decision leads to in the long run: models and requests in a time of their own."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_core.residency.planning import Phase, Standing, Turns, decide

BUDGET = 100
TURNS = Turns(5.0)
LEAVING_SECONDS = 0.2


@dataclass
class Model:
    name: str
    size: int
    load_seconds: float
    phase: Phase = "absent"
    users: int = 0
    waiting: list[tuple[float, float]] = field(default_factory=list)
    """When each came, and how long its answer takes."""
    closed: bool = False
    idle_since: float = 0.0
    ready_since: float = 0.0

    def standing(self) -> Standing:
        return Standing(
            name=self.name,
            phase=self.phase,
            held=0 if self.phase == "absent" else self.size,
            full=self.size,
            users=self.users,
            waiting_since=min((came for came, _ in self.waiting), default=None),
            idle_since=max(self.idle_since, self.ready_since),
            ready_since=self.ready_since,
            load_seconds=self.load_seconds,
        )


class World:
    """Carries out plans, as the fleet does; a load, a departure and an answer take their time."""

    def __init__(self, models: list[Model]) -> None:
        self.models = {model.name: model for model in models}
        self.now = 0.0
        self.loads = 0
        self.waits: list[float] = []
        self.answered = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), event))

    def ask(self, name: str, seconds: float) -> None:
        self.models[name].waiting.append((self.now, seconds))

    def run(self) -> None:
        for _ in range(20_000):
            self._look()
            if not self._events:
                return
            self.now, _, event = heapq.heappop(self._events)
            event()
        raise AssertionError("it never comes to rest")

    def _look(self) -> None:
        plan = decide([model.standing() for model in self.models.values()], BUDGET, TURNS, self.now)
        for name in plan.load:
            self.loads += 1
            self._becomes(self.models[name], "loading")
            self.at(self.now + self.models[name].load_seconds, partial(self._loaded, name))
        for name in (*plan.admit, *plan.load):
            self._admit(self.models[name])
        for name in plan.evict:
            assert self.models[name].users == 0
            self._becomes(self.models[name], "leaving")
            self.at(self.now + LEAVING_SECONDS, partial(self._becomes, self.models[name], "absent"))
        held = sum(model.size for model in self.models.values() if model.phase != "absent")
        assert held <= BUDGET
        assert plan.look_at is None or plan.look_at > self.now
        if plan.look_at is not None and not any(at <= plan.look_at for at, _, _ in self._events):
            self.at(plan.look_at, lambda: None)

    def _becomes(self, model: Model, phase: Phase) -> None:
        model.phase = phase

    def _loaded(self, name: str) -> None:
        model = self.models[name]
        model.phase, model.ready_since = "ready", self.now
        if not model.users:
            model.idle_since = self.now

    def _admit(self, model: Model) -> None:
        for came, seconds in model.waiting:
            self.waits.append(self.now - came)
            model.users += 1
            start = self.now + (model.load_seconds if model.phase == "loading" else 0.0)
            self.at(start + seconds, partial(self._ended, model))
        model.waiting.clear()

    def _ended(self, model: Model) -> None:
        model.users -= 1
        model.idle_since = self.now
        self.answered += 1


def alternating(first: float, pause: float, count: int, load_seconds: float) -> World:
    world = World([Model("a", 60, load_seconds), Model("b", 60, load_seconds)])
    for number in range(count):
        name = "ab"[number % 2]
        world.at(first + number * pause, partial(world.ask, name, 0.5))
    world.run()
    return world


def test_a_storm_of_alternating_requests_is_answered_in_few_groups() -> None:
    world = alternating(0.0, 0.1, 600, load_seconds=2.0)
    assert world.answered == 600
    # A minute of requests; a turn of 5 s, a load of 2 s and a moment for leaving: about eight turns.
    assert world.loads <= 12
    assert max(world.waits) <= 5.0 + 0.5 + 2 * (2.0 + LEAVING_SECONDS) + 5.0


def test_at_most_half_of_the_time_goes_by_with_loading_however_long_loads_take() -> None:
    world = alternating(0.0, 0.5, 600, load_seconds=30.0)
    assert world.answered == 600
    assert world.loads * 30.0 <= 0.5 * world.now + 60.0


def test_requests_far_apart_do_not_wait_for_turns() -> None:
    world = alternating(0.0, 60.0, 10, load_seconds=1.0)
    assert world.loads == 10
    assert max(world.waits) <= LEAVING_SECONDS + 0.001


worlds = st.lists(st.tuples(st.integers(1, 100), st.floats(0.0, 20.0)), min_size=1, max_size=5)
requests = st.lists(
    st.tuples(st.integers(0, 4), st.floats(0, 120), st.floats(0.01, 20)), min_size=1, max_size=40
)


@settings(max_examples=60)
@given(worlds, requests)
def test_everybody_is_answered_and_the_budget_is_kept(
    shapes: list[tuple[int, float]], asked: list[tuple[int, float, float]]
) -> None:
    world = World([Model(str(n), size, load) for n, (size, load) in enumerate(shapes)])
    for model, moment, seconds in asked:
        name = str(model % len(shapes))
        world.at(moment, partial(world.ask, name, seconds))
    world.run()
    assert world.answered == len(asked)
