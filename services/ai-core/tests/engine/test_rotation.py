"""Groups that cannot share a call take turns: nobody waits longer than a round, nobody overruns the room."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.llama_cpp.rotation import Rotation, Turn
from ai_core.engine.backends.llama_cpp.scheduler import (
    AUTO_TARGET_FACTOR,
    BURST_TOKENS,
    DecodeView,
    Limits,
    Plan,
    PrefillView,
    decode_load,
    plan_step,
    service_order,
)
from ai_core.engine.backends.step_cost import Load, StepCost

PLENTY = 100_000
COST = StepCost()
names = st.sampled_from(["", "letters", "summaries", "mails"])
decode_lists = st.lists(st.tuples(st.integers(1, 4000), names), max_size=24).map(
    lambda parts: [DecodeView(n, depth, group) for n, (depth, group) in enumerate(parts)]
)
prefill_lists = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(1, 5000), st.integers(0, 2), names), max_size=8
).map(
    lambda parts: [
        PrefillView(100 + n, depth, rest, priority, n, group)
        for n, (depth, rest, priority, group) in enumerate(parts)
    ]
)


def plan_of(turn: Turn | None, limits: Limits = Limits(), free: int = PLENTY) -> Plan:
    assert turn is not None
    prompts = service_order(turn.prefills, turn.number)
    return plan_step(turn.decodes, prompts, COST, limits, free, turn.elsewhere)


def streams(**groups: int) -> list[DecodeView]:
    found = [(group, 100) for group, count in groups.items() for _ in range(count)]
    return [DecodeView(n, depth, group) for n, (group, depth) in enumerate(found)]


@given(decodes=decode_lists.filter(bool), prefills=prefill_lists, before=st.lists(names, max_size=9))
def test_each_stream_gets_exactly_one_token_in_a_round(
    decodes: list[DecodeView], prefills: list[PrefillView], before: list[str]
) -> None:
    rotation = Rotation()
    for group in before:
        rotation.next(streams(**{group: 1}), [], lambda _: COST, PLENTY)
    urgent = max((view.priority for view in prefills), default=0)
    # A prompt that is less urgent than another group's is no reason for a turn.
    groups = {view.group for view in decodes} | {view.group for view in prefills if view.priority == urgent}
    served: list[int] = []
    for _ in range(len(groups)):
        turn = rotation.next(decodes, prefills, lambda _: COST, PLENTY)
        plan = plan_of(turn)
        assert turn is not None
        assert {view.group for view in turn.decodes} <= {turn.group}
        assert {view.group for view in turn.prefills} <= {turn.group}
        served += plan.decodes
    assert sorted(served) == [view.id for view in decodes]


@given(
    rounds=st.lists(st.lists(names, min_size=1, unique=True), min_size=1, max_size=40),
)
def test_nobody_is_passed_by_twice_by_the_same_group_however_groups_come_and_go(
    rounds: list[list[str]],
) -> None:
    rotation = Rotation()
    passed: dict[str, set[str]] = {}
    for present in rounds:
        turn = rotation.next(streams(**dict.fromkeys(present, 1)), [], lambda _: COST, PLENTY)
        assert turn is not None
        passed = {group: passed.get(group, set()) for group in present}
        for group in present:
            if group == turn.group:
                passed[group] = set()
            else:
                assert turn.group not in passed[group], f"{turn.group} went twice while {group} waited"
                passed[group].add(turn.group)


@given(decodes=decode_lists, prefills=prefill_lists, spare=st.integers(0, 2000))
def test_a_prompt_never_takes_the_cells_that_streams_elsewhere_need(
    decodes: list[DecodeView], prefills: list[PrefillView], spare: int
) -> None:
    rotation = Rotation()
    turn = rotation.next(decodes, prefills, lambda _: COST, len(decodes) + spare)
    if turn is None:
        assert not decodes
        assert not prefills or spare == 0
        return
    plan = plan_of(turn, free=len(decodes) + spare)
    assert sum(chunk.tokens for chunk in plan.chunks) <= spare
    assert not plan.separate or plan.decodes


def test_a_single_group_is_planned_as_if_there_were_no_others() -> None:
    decodes, prefills = streams(letters=4), [PrefillView(100, 0, 3000, group="letters")]
    turn = Rotation().next(decodes, prefills, lambda _: COST, PLENTY)
    assert plan_of(turn) == plan_step(decodes, prefills, COST, Limits(), PLENTY)


def test_a_group_with_prompts_only_does_not_hold_up_the_streams_of_others() -> None:
    rotation, limits = Rotation(), Limits()
    decodes, prefills = streams(letters=6), [PrefillView(100, 0, 4000, group="")]
    plans = [plan_of(rotation.next(decodes, prefills, lambda _: COST, PLENTY)) for _ in range(2)]
    (chunk,) = [chunk for plan in plans for chunk in plan.chunks]
    alone = COST.predict(decode_load(decodes))
    round_ = alone + COST.predict(Load().plus(chunk.tokens, 0))
    assert [plan.decodes for plan in plans] == [[], [0, 1, 2, 3, 4, 5]]
    assert round_ <= AUTO_TARGET_FACTOR * alone
    assert chunk.tokens < limits.rows


def test_what_a_round_can_spare_is_shared_by_all_groups_with_prompts() -> None:
    limits = Limits(itl_target_ms=400)
    decodes = streams(**{"": 2, "letters": 2, "summaries": 2})
    long = [PrefillView(100 + n, 0, 4000, group=name) for n, name in enumerate(("", "letters", "summaries"))]
    rotation = Rotation()
    spent = 0.0
    for _ in range(3):
        turn = rotation.next(decodes, long, lambda _: COST, PLENTY)
        assert turn is not None
        load = decode_load(turn.decodes)
        for chunk in plan_of(turn, limits).chunks:
            load = load.plus(chunk.tokens, 0)
        spent += COST.predict(load)
    assert spent <= 400


def test_a_line_is_read_at_once_also_beside_other_groups() -> None:
    rotation = Rotation()
    prompt = PrefillView(100, 0, BURST_TOKENS, group="letters")
    plan = plan_of(rotation.next(streams(**{"": 8}), [prompt], lambda _: COST, PLENTY))
    other = plan_of(rotation.next(streams(**{"": 8}), [prompt], lambda _: COST, PLENTY))
    assert [chunk.tokens for chunk in (*plan.chunks, *other.chunks)] == [BURST_TOKENS]


def test_the_more_urgent_prompt_goes_first_whatever_its_group() -> None:
    patient = PrefillView(100, 0, 300, priority=0, group="")
    urgent = PrefillView(101, 0, 300, priority=1, group="letters")
    rotation = Rotation()
    order = []
    for prefills in ([patient, urgent], [patient, urgent], [patient]):
        turn = rotation.next([], prefills, lambda _: COST, PLENTY)
        order += [chunk.id for chunk in plan_of(turn).chunks]
    assert order == [101, 101, 100]


def test_long_prompts_are_read_beside_short_ones_of_every_group() -> None:
    """Which of the two is served alternates by the turns of each group, not by the steps of all."""
    rotation = Rotation()
    views = [
        PrefillView(1, 0, 4000, admitted=1),
        PrefillView(2, 0, 20, admitted=2),
        PrefillView(3, 0, 4000, admitted=3, group="letters"),
        PrefillView(4, 0, 20, admitted=4, group="letters"),
    ]
    first: set[int] = set()
    for _ in range(4):
        turn = rotation.next([], views, lambda _: COST, PLENTY)
        assert turn is not None
        first.add(service_order(turn.prefills, turn.number)[0].id)
    assert first == {1, 2, 3, 4}


def test_a_forgotten_group_begins_anew() -> None:
    rotation = Rotation()
    both = streams(**{"": 1, "letters": 1})
    order = []
    for _ in range(3):
        turn = rotation.next(both, [], lambda _: COST, PLENTY)
        assert turn is not None
        order.append(turn.group)
    rotation.forget("letters")
    turn = rotation.next([replace(view, depth=7) for view in both], [], lambda _: COST, PLENTY)
    assert turn is not None
    assert (order, turn.group, turn.number) == (["", "letters", ""], "letters", 1)
