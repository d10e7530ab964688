"""What a step computes: streams first, prompts in what is left, nobody starved."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.llama_cpp.scheduler import (
    BURST_TOKENS,
    LONGEST_CALL_MS,
    SMALLEST_CHUNK,
    DecodeView,
    Limits,
    PrefillView,
    Tenant,
    choose_paused,
    choose_resumed,
    may_enter,
    plan_step,
    service_order,
)
from ai_core.engine.backends.step_cost import TILE_ROWS, Load, StepCost

PLENTY = 100_000


def streams(count: int, depth: int = 100) -> list[DecodeView]:
    return [DecodeView(id=number, depth=depth) for number in range(count)]


def prompts(*remaining: int, depth: int = 0) -> list[PrefillView]:
    return [
        PrefillView(id=100 + number, depth=depth, remaining=tokens) for number, tokens in enumerate(remaining)
    ]


decode_lists = st.lists(st.integers(1, 4000), max_size=32).map(
    lambda depths: [DecodeView(number, depth) for number, depth in enumerate(depths)]
)
prefill_lists = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 5000)), max_size=8).map(
    lambda parts: [PrefillView(100 + n, depth, rest) for n, (depth, rest) in enumerate(parts)]
)


@given(decodes=decode_lists, prefills=prefill_lists, spare=st.integers(0, 2000))
def test_every_stream_decodes_in_every_step_and_rooms_are_never_overrun(
    decodes: list[DecodeView], prefills: list[PrefillView], spare: int
) -> None:
    plan = plan_step(decodes, prefills, StepCost(), Limits(), len(decodes) + spare)
    assert plan.decodes == [view.id for view in decodes]
    rest = {view.id: view.remaining for view in prefills}
    assert all(0 < chunk.tokens <= rest[chunk.id] for chunk in plan.chunks)
    assert sum(chunk.tokens for chunk in plan.chunks) <= spare
    rows = sum(chunk.tokens for chunk in plan.chunks)
    if decodes and not plan.separate:
        assert len(decodes) + rows < TILE_ROWS or not plan.chunks
    assert rows <= Limits().rows


@given(decodes=decode_lists, prefills=prefill_lists.filter(bool))
def test_where_there_is_room_a_prompt_always_advances(
    decodes: list[DecodeView], prefills: list[PrefillView]
) -> None:
    plan = plan_step(decodes, prefills, StepCost(), Limits(itl_target_ms=1), PLENTY)
    assert plan.chunks
    assert plan.chunks[0].id == prefills[0].id


def test_without_streams_prompts_share_large_calls() -> None:
    plan = plan_step([], prompts(300, 300, 300), StepCost(), Limits(), PLENTY)
    assert [chunk.tokens for chunk in plan.chunks] == [300, 212]


def test_a_short_prompt_is_computed_in_one_piece_beside_streams() -> None:
    plan = plan_step(streams(8), prompts(BURST_TOKENS), StepCost(), Limits(), PLENTY)
    assert [chunk.tokens for chunk in plan.chunks] == [BURST_TOKENS]
    assert plan.separate


def test_a_tight_target_cuts_short_prompts_too() -> None:
    plan = plan_step(streams(8), prompts(BURST_TOKENS), StepCost(), Limits(itl_target_ms=1), PLENTY)
    assert [chunk.tokens for chunk in plan.chunks] == [SMALLEST_CHUNK]


def test_a_short_prompt_goes_before_a_long_one_that_came_first_but_does_not_stop_it() -> None:
    long, short = PrefillView(1, 0, 4000, admitted=1), PrefillView(2, 0, 20, admitted=2)
    served = [service_order([long, short], step)[0].id for step in range(4)]
    assert served == [2, 1, 2, 1]


def test_the_more_urgent_prompt_goes_first_whatever_its_length() -> None:
    urgent, short = PrefillView(1, 0, 4000, priority=1, admitted=9), PrefillView(2, 0, 20)
    assert [service_order([short, urgent], step)[0].id for step in range(2)] == [1, 1]


def test_a_call_stays_short_on_a_slow_machine() -> None:
    cost = StepCost()
    for _ in range(60):
        for rows in (64, 128, 256):
            cost.observe(Load(rows, rows * 100), 50.0 * rows)
    plan = plan_step([], prompts(4000), cost, Limits(), PLENTY)
    assert 50 * plan.chunks[0].tokens <= 2 * LONGEST_CALL_MS


def test_a_long_prompt_is_cut_so_that_streams_keep_their_pace() -> None:
    cost, limits = StepCost(), Limits(itl_target_ms=200)
    plan = plan_step(streams(6), prompts(4000), cost, limits, PLENTY)
    (chunk,) = plan.chunks
    load = Load(6, 600).plus(chunk.tokens, 0)
    assert SMALLEST_CHUNK <= chunk.tokens < TILE_ROWS
    assert cost.predict(load) <= 200


def test_a_higher_target_brings_a_long_prompt_on_faster() -> None:
    sizes = [
        plan_step(streams(6), prompts(4000), StepCost(), Limits(itl_target_ms=target), PLENTY)
        .chunks[0]
        .tokens
        for target in (100, 200, 400, 2000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_several_short_prompts_go_together_while_they_fit() -> None:
    plan = plan_step(streams(4), prompts(10, 10, 10), StepCost(), Limits(itl_target_ms=10_000), PLENTY)
    assert [chunk.tokens for chunk in plan.chunks] == [10, 10, 10]
    assert not plan.separate


def test_the_newest_of_the_lowest_priority_gives_way_and_the_oldest_comes_back_first() -> None:
    tenants = [Tenant(1, 0, 1), Tenant(2, 0, 2), Tenant(3, 5, 3)]
    assert choose_paused(tenants) == 2
    assert choose_resumed(tenants) == 3
    assert choose_resumed(tenants[:2]) == 1


def test_the_last_one_is_never_paused() -> None:
    assert choose_paused([Tenant(1, 0, 1)]) is None


@given(free=st.integers(0, 10_000), needed=st.integers(1, 10_000))
def test_somebody_alone_always_enters(free: int, needed: int) -> None:
    assert may_enter(free, needed, running=0)


def test_costs_are_learned() -> None:
    cost = StepCost()
    for _ in range(40):
        for rows in (1, 8, 16, 40):
            load = Load(rows, rows * 200)
            cost.observe(load, 10 + 2 * rows + 0.01 * load.attended)
    for rows in (4, 30):
        load = Load(rows, rows * 200)
        expected = 10 + 2 * rows + 0.01 * load.attended
        assert abs(cost.predict(load) - expected) < 0.05 * expected


def test_costs_stay_learned_over_a_long_varied_service() -> None:
    cost, random = StepCost(), Random(7)  # noqa: S311 - no secret
    for _ in range(5000):
        rows = random.choice((1, 1, 4, 8, 8, 8, 16, 16, 40))
        load = Load(rows, rows * random.randint(50, 1000))
        spike = 10 if random.random() < 0.02 else 1
        cost.observe(load, (30 + 5 * rows + 0.01 * load.attended) * random.uniform(0.95, 1.05) * spike)
    for rows in (1, 8, 16, 40):
        load = Load(rows, rows * 400)
        expected = 30 + 5 * rows + 0.01 * load.attended
        assert 0.6 * expected < cost.predict(load) < 1.6 * expected


def test_one_spike_hardly_changes_what_is_expected() -> None:
    cost = StepCost()
    for _ in range(100):
        cost.observe(Load(8, 800), 80)
    before = cost.predict(Load(8, 800))
    cost.observe(Load(8, 800), 60_000)
    assert cost.predict(Load(8, 800)) < 1.5 * before


@given(
    observations=st.lists(
        st.tuples(st.integers(1, 512), st.integers(0, 500_000), st.floats(0.01, 1e5)), max_size=60
    ),
    rows=st.integers(0, 512),
    attended=st.integers(0, 500_000),
)
def test_predictions_are_never_negative_nor_infinite(
    observations: list[tuple[int, int, float]], rows: int, attended: int
) -> None:
    cost = StepCost()
    for seen_rows, seen_attended, milliseconds in observations:
        cost.observe(Load(seen_rows, seen_attended), milliseconds)
    assert 0 <= cost.predict(Load(rows, attended)) < float("inf")
