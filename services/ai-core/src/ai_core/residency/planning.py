"""Who is loaded, who gives way, and whose requests wait: one decision over all models. Pure.

It is made anew after every event, from how things stand, and remembers nothing. The rules:

* What all models hold together never exceeds the budget, as far as is known what they hold.
* A model with requests under way, or a pinned one, is never put out of memory.
* Models that wait for room are served in the order in which they began to wait. A later one goes first
  only if that takes nothing from the earlier ones.
* Where the memory for keys and values of idle models is enough, they give that and keep their weights.
* Two models that do not fit together take turns. A model that others wait for keeps its place while it is
  used, but not beyond its turn; then its door is closed: requests under way end, new ones wait, and are
  let in together when the model is back. Without turns, alternating requests would do nothing but load.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from ai_core.residency.eviction import Candidate, choose

Phase = Literal["absent", "loading", "ready", "leaving"]


class Cause(StrEnum):
    """Why a model is put out of memory."""

    ROOM = "room"
    """Another one needs its place."""
    GROWTH = "growth"
    """The models together turned out to hold more than the budget."""
    KEEP_ALIVE = "keep_alive"
    """Nobody has used it for long."""
    ASKED = "asked"
    """A caller or the operator said so."""
    CHANGED = "changed"
    """It is configured in another way now, or no longer at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one model stands. Bytes; times in seconds of one monotonic clock."""

    name: str
    phase: Phase = "absent"
    held: int = 0
    """What it counts for now."""
    full: int = 0
    """What it counts for while it serves; more than ``held`` while it is absent or rests."""
    spare: int = 0
    """Of ``held``: what it could give back and keep its weights."""
    users: int = 0
    """Requests under way."""
    waiting_since: float | None = None
    """When the first of those came who wait to be let in."""
    idle_since: float = 0.0
    """Of a model without users."""
    ready_since: float = 0.0
    load_seconds: float = 0.0
    weight: float = 1.0
    pinned: bool = False
    most: int = 0
    """What it may hold at all; 0: as much as there is."""
    leave: Cause | None = None
    """It has to go as soon as nobody uses it."""
    rests_at: float | None = None
    """Then it gives back what it can spare, if nobody uses it."""
    expires_at: float | None = None
    """Then it leaves, if nobody uses it."""

    @property
    def needs(self) -> int:
        """Further bytes before it can serve."""
        return max(0, self.full - self.held)

    @property
    def idle(self) -> bool:
        """In memory, and of no use to anybody at this moment."""
        return self.phase == "ready" and not self.users and self.waiting_since is None


@dataclass(frozen=True, slots=True)
class Turns:
    """How long a model keeps its place while others wait for it, in seconds."""

    shortest: float = 5.0

    def length(self, load_seconds: float) -> float:
        """Of a model that takes so long to be loaded: at most half of all time goes by with loading."""
        return max(self.shortest, load_seconds)

    def calm(self, load_seconds: float) -> float:
        """After so long without a request, a turn is over early. Waiting for as long as a needless load
        would take costs at most twice what knowing the future would."""
        return min(self.shortest, load_seconds)


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A model can never be loaded as things are configured. Bytes."""

    needs: int
    budget: int
    """Of all models together."""
    pinned: int
    """Held by others that stay."""
    most: int = 0
    """What this model may hold, if there is a bound of its own."""

    @property
    def room(self) -> int:
        """What there could be for it."""
        left = self.budget - self.pinned
        return min(left, self.most) if self.most else left


@dataclass(slots=True)
class Plan:
    """What is to be done now, by the models' names."""

    load: list[str] = field(default_factory=list)
    admit: list[str] = field(default_factory=list)
    """Whose waiting requests may go in."""
    evict: dict[str, Cause] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    """Who gives back what they can spare."""
    closed: set[str] = field(default_factory=set)
    """Whose new requests have to wait until the next plan says otherwise."""
    refuse: dict[str, NoRoom] = field(default_factory=dict)
    look_at: float | None = None
    """When time alone will change the decision."""

    def look_again(self, moment: float) -> None:
        """At this moment at the latest."""
        self.look_at = moment if self.look_at is None else min(self.look_at, moment)


def decide(models: Sequence[Standing], budget: int, turns: Turns, now: float) -> Plan:
    """What is to be done now."""
    return _Decision(models, budget, turns, now).made()


class _Decision:
    def __init__(self, models: Sequence[Standing], budget: int, turns: Turns, now: float) -> None:
        self._models = models
        self._budget = budget
        self._turns = turns
        self._now = now
        self._plan = Plan()
        self._free = budget - sum(model.held for model in models)
        """At this moment."""
        self._later = self._free + sum(model.held for model in models if model.phase == "leaving")
        """When all that is decided so far has come to pass."""
        self._spoken_for: set[str] = set()
        """Who will give way to somebody, now or when their turn is over."""

    def made(self) -> Plan:
        for model in self._models:
            self._by_itself(model)
        self._shrink()
        waiting = [model for model in self._models if model.waiting_since is not None]
        blocked = False
        for model in sorted(waiting, key=lambda one: (one.waiting_since, one.name)):
            blocked = self._serve(model, blocked=blocked) or blocked
        return self._plan

    # --- without anybody waiting ------------------------------------------------------------------

    def _by_itself(self, model: Standing) -> None:
        """Who was asked to go, and whose time is over."""
        if model.leave is not None and model.phase in {"loading", "ready"}:
            self._plan.closed.add(model.name)
            if not model.users:
                self._evict(model, model.leave)
        elif model.idle and not model.pinned and self._due(model.expires_at):
            self._evict(model, Cause.KEEP_ALIVE)
        elif model.idle and model.spare and self._due(model.rests_at):
            self._rest(model)

    def _due(self, moment: float | None) -> bool:
        if moment is None:
            return False
        self._look_at(moment)
        return moment <= self._now

    def _shrink(self) -> None:
        """They hold more than was thought: who is idle gives way at once."""
        if self._later < 0:
            idle = [model for model in self._movable() if model.idle]
            for model in self._chosen(idle, -self._later, resting=True) or ():
                self._rest(model)
        if self._later < 0:
            idle = [model for model in self._movable() if model.idle]
            chosen = self._chosen(idle, -self._later) or idle
            for model in chosen:
                self._evict(model, Cause.GROWTH)

    # --- who waits ----------------------------------------------------------------------------------

    def _serve(self, model: Standing, *, blocked: bool) -> bool:
        """Let its requests in, or see to it that they can be. True: nobody behind it may take room."""
        if model.phase == "leaving" or model.name in self._plan.closed or model.name in self._plan.evict:
            return False
        if not model.needs and model.phase in {"loading", "ready"}:
            self._plan.admit.append(model.name)
            return False
        if (refusal := self._never(model)) is not None:
            self._plan.refuse[model.name] = refusal
            return False
        if blocked:
            return True
        if model.needs <= min(self._free, self._later):
            self._free -= model.needs
            self._later -= model.needs
            (self._plan.admit if model.phase == "ready" else self._plan.load).append(model.name)
            return False
        return self._make_room(model)

    def _never(self, model: Standing) -> NoRoom | None:
        others = (other for other in self._models if other is not model)
        stays = sum(other.held for other in others if other.pinned and other.leave is None)
        most = min(self._budget - stays, model.most or self._budget)
        return None if model.full <= most else NoRoom(model.full, self._budget, stays, model.most)

    def _make_room(self, model: Standing) -> bool:
        """True: nobody can say yet who will give way."""
        shortage = model.needs - self._later
        if shortage > 0:
            others = [other for other in self._movable() if other is not model]
            calm = [other for other in others if other.idle and self._calm_at(other, model) <= self._now]
            resting = self._chosen(calm, shortage, resting=True)
            for other in resting or ():
                self._rest(other)
            if resting is None:
                chosen = (
                    self._chosen(calm, shortage)
                    or self._chosen([other for other in others if other.idle], shortage)
                    or self._chosen(others, shortage)
                )
                if chosen is None:
                    return True
                self._ask(chosen, model)
        self._later -= model.needs
        return False

    def _ask(self, chosen: Sequence[Standing], model: Standing) -> None:
        """These make room for ``model``: all at once, and each not before its turn is over."""
        for other in chosen:
            if self._turn_ends(other, model) <= self._now:
                self._plan.closed.add(other.name)
            else:
                if other.idle:
                    self._look_at(self._calm_at(other, model))
                self._look_at(self._turn_ends(other, model))
        if all(self._may_go(other, model) for other in chosen):
            for other in chosen:
                self._evict(other, Cause.ROOM)
            return
        self._spoken_for.update(other.name for other in chosen)
        self._later += sum(other.held for other in chosen)

    def _look_at(self, moment: float) -> None:
        """What is over already will not change the decision: looking at it again would never end."""
        if moment > self._now:
            self._plan.look_again(moment)

    def _may_go(self, other: Standing, model: Standing) -> bool:
        if other.users:
            return False
        if other.name in self._plan.closed:
            return True
        return other.idle and self._calm_at(other, model) <= self._now

    def _turn_ends(self, other: Standing, model: Standing) -> float:
        """Until then, ``other`` keeps its place though ``model`` waits for it."""
        assert model.waiting_since is not None
        length = self._turns.length(other.load_seconds)
        return max(model.waiting_since, other.ready_since) + length

    def _calm_at(self, other: Standing, model: Standing) -> float:
        calm = max(other.idle_since, other.ready_since) + self._turns.calm(other.load_seconds)
        return min(calm, self._turn_ends(other, model))

    # --- what gives way -----------------------------------------------------------------------------

    def _movable(self) -> list[Standing]:
        return [
            model
            for model in self._models
            if model.phase == "ready"
            and not model.pinned
            and model.name not in self._plan.evict
            and model.name not in self._plan.rest
            and model.name not in self._plan.admit
            and model.name not in self._spoken_for
        ]

    def _chosen(
        self, models: Iterable[Standing], shortage: int, *, resting: bool = False
    ) -> list[Standing] | None:
        by_name = {model.name: model for model in models}
        candidates = [
            Candidate(
                model.name,
                model.spare if resting else model.held,
                0.0 if model.users else max(0.0, self._now - model.idle_since),
                model.load_seconds,
                model.weight,
            )
            for model in by_name.values()
        ]
        chosen = choose(candidates, shortage)
        return None if chosen is None else [by_name[one.name] for one in chosen]

    def _evict(self, model: Standing, cause: Cause) -> None:
        self._plan.evict[model.name] = cause
        self._later += model.held

    def _rest(self, model: Standing) -> None:
        self._plan.rest.append(model.name)
        self._later += model.spare
