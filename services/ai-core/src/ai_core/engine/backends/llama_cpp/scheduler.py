"""What the next step computes: a pure decision.

* Every running sequence decodes in every step.
* Prompts are computed in chunks between these decodes, as much as keeps the time between two
  tokens of the running streams near a target. Where attention works in tiles, up to 63 rows go
  through one call together and a larger chunk is a call of its own, because mixing decodes into
  tiles costs more.
* A prompt that is short in all (``BURST_TOKENS``) is computed at once: cut into slices it would
  cost a third more and hold up everybody for longer in sum.
* Without running streams, prompts share large calls.
* Sequences with unlike adapters cannot share a call: a step is one group's (:mod:`.rotation`), and
  what a round of all groups may spend on prompts is shared among the groups that have some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ai_core.engine.backends.step_cost import TILE_ROWS, Load, StepCost

BURST_TOKENS = 128
"""A prompt with at most so many tokens left is computed in one piece."""
BURST_STRETCH = 4.0
"""… unless that takes more than so many times the wanted inter-token time."""
LONGEST_CALL_MS = 3_000.0
"""Nobody can join, leave or be heard during a call."""
SMALLEST_CHUNK = 4
"""Progress is made even where the target leaves no room."""
AUTO_TARGET_FACTOR = 1.9
"""Without a target in milliseconds, a step may take this many times what its decodes take alone."""
_MIXED_CHUNKS = (56, 48, 40, 32, 24, 16, 12, 8, 6, 4)
_TILED_CHUNKS = (512, 384, 256, 192, 128, 64)


@dataclass(frozen=True, slots=True)
class DecodeView:
    """A sequence that gets its next token. ``depth``: tokens it holds. ``group``: see :mod:`.rotation`."""

    id: int
    depth: int
    group: str = ""


@dataclass(frozen=True, slots=True)
class PrefillView:
    """A sequence whose prompt is not computed yet. ``admitted``: the order of admission."""

    id: int
    depth: int
    remaining: int
    priority: int = 0
    admitted: int = 0
    group: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next ``tokens`` prompt tokens of a sequence."""

    id: int
    tokens: int


@dataclass(slots=True)
class Plan:
    """One step. ``separate``: the chunks are a second call, after the decodes."""

    decodes: list[int] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    separate: bool = False

    @property
    def is_empty(self) -> bool:
        return not self.decodes and not self.chunks


@dataclass(frozen=True, slots=True)
class Limits:
    """``rows``: most rows in one call. ``itl_target_ms`` 0: relative to the decodes' own cost."""

    rows: int = 512
    itl_target_ms: float = 0.0
    tiles: bool = True
    """Whether attention works in tiles from 64 rows on (ggml's does with F16, not with BF16; our own
    does not care): only then is a large slice a call of its own."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other groups do between two turns of the one that is planned (see :mod:`.rotation`)."""

    streams: int = 0
    """Sequences that decode there, once in a round each."""
    decode_ms: float = 0.0
    """What that takes."""
    prefilling: int = 0
    """Groups with prompts, which share what a round can spare for them."""


NOBODY_ELSE = Elsewhere()


def plan_step(
    decodes: Sequence[DecodeView],
    prefills: Sequence[PrefillView],
    cost: StepCost,
    limits: Limits,
    free_cells: int,
    elsewhere: Elsewhere = NOBODY_ELSE,
) -> Plan:
    """The next step. The caller has seen to it that ``free_cells`` covers the decodes, those elsewhere
    too; chunks never take more than what is left of them."""
    plan = Plan(decodes=[view.id for view in decodes])
    room = free_cells - len(decodes) - elsewhere.streams
    if not decodes and not elsewhere.streams:
        plan.chunks = _fill(prefills, min(_rows_in_time(prefills, cost, limits.rows), room))
        return plan
    if not prefills or room <= 0:
        return plan
    load = decode_load(decodes)
    budget = _budget_ms(cost.predict(load) + elsewhere.decode_ms, limits) / (1 + elsewhere.prefilling)
    room = min(limits.rows - load.rows, room)
    mixed_room = min(TILE_ROWS - 1 - load.rows, room) if limits.tiles else room
    first = prefills[0]
    if first.remaining <= _burst(first, cost, limits):
        rows = min(_rows_in_time(prefills, cost, limits.rows - load.rows), room)
        _plan_short(plan, prefills, cost, load, budget, mixed_room, rows)
    else:
        _plan_long(plan, first, cost, load, budget, mixed_room, room)
    plan.separate = plan.separate and bool(decodes)
    return plan


def service_order(prefills: Sequence[PrefillView], step: int) -> list[PrefillView]:
    """Who is served first. Short prompts go before long ones of the same priority, so that nobody
    with a line to say waits for somebody's book; every second step is the book's, so that it is read too."""
    if step % 2:
        return sorted(prefills, key=lambda view: (-view.priority, view.admitted))
    return sorted(prefills, key=lambda view: (-view.priority, view.remaining > BURST_TOKENS, view.admitted))


def _rows_in_time(prefills: Sequence[PrefillView], cost: StepCost, rows: int) -> int:
    """As many rows as a call may have before it looks like a hanging engine, on a slow machine too."""
    depth = prefills[0].depth if prefills else 0
    while rows > TILE_ROWS and cost.predict(Load().plus(rows, depth)) > LONGEST_CALL_MS:
        rows //= 2
    return rows


def _burst(first: PrefillView, cost: StepCost, limits: Limits) -> int:
    """Up to how many tokens a prompt is computed in one piece here."""
    rows = _rows_in_time([first], cost, BURST_TOKENS)
    if (
        limits.itl_target_ms
        and cost.predict(Load().plus(rows, first.depth)) > BURST_STRETCH * limits.itl_target_ms
    ):
        return SMALLEST_CHUNK
    return rows


def decode_load(decodes: Sequence[DecodeView]) -> Load:
    depth = sum(view.depth for view in decodes)
    return Load(len(decodes), depth, depth)


def _budget_ms(decode_ms: float, limits: Limits) -> float:
    """What prompts may take between two tokens of every stream, whose decodes alone take ``decode_ms``."""
    return (limits.itl_target_ms or AUTO_TARGET_FACTOR * decode_ms) - decode_ms


def _fill(prefills: Sequence[PrefillView], room: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    for view in prefills:
        tokens = min(view.remaining, room)
        if tokens <= 0:
            break
        chunks.append(Chunk(view.id, tokens))
        room -= tokens
    return chunks


def _plan_short(
    plan: Plan,
    prefills: Sequence[PrefillView],
    cost: StepCost,
    load: Load,
    budget: float,
    mixed_room: int,
    room: int,
) -> None:
    """Whole short prompts: beside the decodes while they fit there within the budget. Otherwise all that
    wait go at once: they then run side by side from their first token to their last, where one after
    the other would leave each step half empty."""
    short = [view for view in prefills if view.remaining <= BURST_TOKENS]
    grown = load
    for view in short:
        grown = grown.plus(view.remaining, view.depth)
    tokens = sum(view.remaining for view in short)
    if tokens <= mixed_room and cost.predict(grown) - cost.predict(load) <= budget:
        plan.chunks = [Chunk(view.id, view.remaining) for view in short]
        return
    plan.chunks = _fill(short, room)
    plan.separate = sum(chunk.tokens for chunk in plan.chunks) > mixed_room


def _plan_long(
    plan: Plan, first: PrefillView, cost: StepCost, load: Load, budget: float, mixed_room: int, room: int
) -> None:
    """The slice of a long prompt that brings most tokens per millisecond within the budget."""
    best, best_rate = 0, 0.0
    for tokens in _TILED_CHUNKS + _MIXED_CHUNKS:
        added = cost.predict(load.plus(tokens, first.depth)) - cost.predict(load)
        rate = tokens / max(added, 0.1)
        if tokens <= min(mixed_room, first.remaining) and added <= budget and rate > best_rate:
            best, best_rate = tokens, rate
    for tokens in _TILED_CHUNKS:
        added = cost.predict(Load().plus(tokens, first.depth))
        rate = tokens / max(added, 0.1)
        if tokens <= min(room, first.remaining) and added <= budget and rate > best_rate:
            best, best_rate = tokens, rate
    tokens = best or min(SMALLEST_CHUNK, room, first.remaining)
    plan.chunks = [Chunk(first.id, tokens)]
    plan.separate = tokens > mixed_room


# --- KV room -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tenant:
    """A sequence that holds cells, as seen by the decision whom to pause."""

    id: int
    priority: int
    admitted: int
    """Order of admission: the higher, the newer."""


def choose_paused(tenants: Sequence[Tenant]) -> int | None:
    """The sequence that gives way when cells run out: of the lowest priority, the newest. None
    when only one is left, which always goes on."""
    if len(tenants) < 2:
        return None
    return min(tenants, key=lambda tenant: (tenant.priority, -tenant.admitted)).id


def choose_resumed(paused: Sequence[Tenant]) -> int | None:
    """Whose turn it is to come back: of the highest priority, the oldest."""
    return max(paused, key=lambda tenant: (tenant.priority, -tenant.admitted)).id if paused else None


RESERVE_TOKENS = 32
"""Room for growth that a sequence must find before it starts or comes back."""


def may_enter(free_cells: int, needed: int, running: int) -> bool:
    """Whether a sequence that brings ``needed`` tokens may start or come back beside ``running`` others:
    each of them is to have room to grow for a while, or pausing would follow at once."""
    return running == 0 or free_cells >= needed + RESERVE_TOKENS * (running + 1)
