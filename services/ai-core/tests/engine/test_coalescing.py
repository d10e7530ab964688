from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.coalescing import Coalescer, Go, WaitFor
from ai_core.engine.tokens import Tokens, common_prefix

SYSTEM = list(range(100, 600))


def prompt(*tokens: int, after: list[int] = SYSTEM) -> Tokens:
    return np.array([*after, *tokens], dtype=np.int32)


def ask(
    coalescer: Coalescer,
    tokens: Tokens,
    *,
    held: int = 0,
    namespace: str = "",
    priority: int = 0,
    waited: float = 0.0,
) -> Go | WaitFor:
    return coalescer.verdict(tokens, held, namespace, priority, waited)


@pytest.fixture
def coalescer() -> Coalescer:
    """Sequence 1 is computing the system prompt, and nothing of it is ready."""
    coalescer = Coalescer(minimum=64, patience=20.0)
    coalescer.started(1, prompt(1, 2, 3), 0, "", 0)
    return coalescer


def test_the_first_request_goes_at_once() -> None:
    assert ask(Coalescer(), prompt(1)) == Go()


def test_a_request_waits_for_the_prefix_that_another_one_is_computing(coalescer: Coalescer) -> None:
    assert ask(coalescer, prompt(9, 9)) == WaitFor(1, until=500, raise_priority=None)


def test_it_goes_when_the_common_part_is_ready_though_the_leader_is_not_done(coalescer: Coalescer) -> None:
    coalescer.progress(1, 499)
    assert isinstance(ask(coalescer, prompt(9, 9), waited=1.0), WaitFor)
    coalescer.progress(1, 500)
    assert ask(coalescer, prompt(9, 9), held=500, waited=1.1) == Go()


def test_a_newcomer_does_not_wait_for_the_last_few_tokens(coalescer: Coalescer) -> None:
    coalescer.progress(1, 500 - 63)
    assert ask(coalescer, prompt(9, 9)) == Go()


def test_unlike_prompts_do_not_wait_for_each_other(coalescer: Coalescer) -> None:
    assert ask(coalescer, prompt(1, 2, 3, after=list(range(1000, 1500)))) == Go()


def test_a_short_common_part_is_computed_twice() -> None:
    coalescer = Coalescer(minimum=64)
    coalescer.started(1, prompt(*range(100), after=SYSTEM[:63]), 0, "", 0)
    assert ask(coalescer, prompt(*range(500, 600), after=SYSTEM[:63])) == Go()


def test_what_is_held_already_is_not_worth_waiting_for(coalescer: Coalescer) -> None:
    long = prompt(*range(1000, 1100))
    assert ask(coalescer, long, held=437) == Go()
    assert isinstance(ask(coalescer, long, held=436), WaitFor)


def test_a_leader_that_had_the_common_part_from_the_start_holds_nobody_up() -> None:
    coalescer = Coalescer()
    coalescer.started(1, prompt(*range(1000)), 500, "", 0)
    assert ask(coalescer, prompt(9), held=0, waited=1.0) == Go()


def test_a_leader_with_little_left_of_the_common_part_holds_nobody_up() -> None:
    coalescer = Coalescer()
    coalescer.started(1, prompt(*range(1000)), 437, "", 0)
    assert ask(coalescer, prompt(9), held=0, waited=1.0) == Go()


def test_a_leader_that_differs_early_is_not_waited_for_though_it_agrees_again_later() -> None:
    coalescer = Coalescer()
    coalescer.started(1, prompt(*range(1000)), 70, "", 0)
    other = prompt(*range(1000))
    other[80] = 7
    assert ask(coalescer, other) == Go()


def test_an_equal_prompt_waits_for_all_but_its_last_token(coalescer: Coalescer) -> None:
    assert ask(coalescer, prompt(1, 2, 3)) == WaitFor(1, until=502, raise_priority=None)


def test_prefixes_of_another_namespace_are_not_waited_for(coalescer: Coalescer) -> None:
    assert ask(coalescer, prompt(9), namespace="lora-a") == Go()


def test_a_leader_that_goes_away_hands_over(coalescer: Coalescer) -> None:
    assert isinstance(ask(coalescer, prompt(5)), WaitFor)
    coalescer.done(1)
    assert ask(coalescer, prompt(5), waited=2.0) == Go()
    coalescer.started(2, prompt(5), 0, "", 0)
    assert ask(coalescer, prompt(6), waited=2.0) == WaitFor(2, until=500, raise_priority=None)


def test_a_more_urgent_waiter_pulls_its_leader_up(coalescer: Coalescer) -> None:
    assert ask(coalescer, prompt(5), priority=3) == WaitFor(1, until=500, raise_priority=3)
    coalescer.prioritised(1, 3)
    assert ask(coalescer, prompt(5), priority=3) == WaitFor(1, until=500, raise_priority=None)
    assert ask(coalescer, prompt(5), priority=-1) == WaitFor(1, until=500, raise_priority=None)


def test_whoever_waited_long_enough_goes_alone(coalescer: Coalescer) -> None:
    assert isinstance(ask(coalescer, prompt(5), waited=19.9), WaitFor)
    assert ask(coalescer, prompt(5), waited=20.0) == Go()


def test_of_several_leaders_the_one_with_the_longest_common_part_is_waited_for(coalescer: Coalescer) -> None:
    coalescer.started(2, prompt(*range(1000, 1200)), 0, "", 0)
    coalescer.started(3, prompt(*range(1000, 1100)), 0, "", 0)
    assert ask(coalescer, prompt(*range(1000, 1150), 7)) == WaitFor(2, until=650, raise_priority=None)


def test_a_priority_once_raised_is_not_lowered(coalescer: Coalescer) -> None:
    coalescer.prioritised(1, 3)
    coalescer.prioritised(1, 1)
    assert ask(coalescer, prompt(5), priority=2) == WaitFor(1, until=500, raise_priority=None)


def test_a_sequence_that_starts_again_counts_with_its_new_prompt_only(coalescer: Coalescer) -> None:
    coalescer.started(1, prompt(1, after=list(range(1000, 1500))), 0, "", 0)
    assert ask(coalescer, prompt(9)) == Go()
    assert ask(coalescer, prompt(9, after=list(range(1000, 1500)))) == WaitFor(1, 500, None)


def test_unknown_sequences_are_ignored(coalescer: Coalescer) -> None:
    coalescer.progress(77, 500)
    coalescer.prioritised(77, 5)
    coalescer.done(77)
    assert ask(coalescer, prompt(9)) == WaitFor(1, until=500, raise_priority=None)


def test_a_minimum_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Coalescer(minimum=0)


COMMON = list(range(12))
ALIKE = st.tuples(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=6))
SIMILAR_PROMPTS = ALIKE.map(lambda drawn: prompt(*drawn[1], after=COMMON[: drawn[0]]))
LEADERS = st.lists(st.tuples(SIMILAR_PROMPTS, st.integers(0, 12), st.integers(0, 12)), max_size=6)


@given(LEADERS, SIMILAR_PROMPTS, st.integers(0, 12), st.booleans())
def test_waiting_always_brings_tokens_and_is_never_missed(
    leaders: list[tuple[Tokens, int, int]], tokens: Tokens, held: int, waited: bool
) -> None:
    coalescer = Coalescer(minimum=3)
    worth: dict[int, int] = {}
    for number, (leader, at_first, more) in enumerate(leaders):
        begun = min(at_first, len(leader))
        ready = min(begun + more, len(leader))
        coalescer.started(number, leader, begun, "", 0)
        coalescer.progress(number, ready)
        common = min(common_prefix(tokens, leader), len(tokens) - 1)
        if common - begun >= 3 and common - max(held, ready) >= (1 if waited else 3):
            worth[number] = common
    verdict = ask(coalescer, tokens, held=held, waited=1.0 if waited else 0.0)
    if isinstance(verdict, WaitFor):
        assert verdict.until == worth[verdict.leader_id] == max(worth.values())
    else:
        assert not worth


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=40), st.integers(0, 40))
def test_the_common_prefix_is_what_a_loop_would_find(a: list[int], b: list[int], shared: int) -> None:
    b = a[:shared] + b
    expected = 0
    while expected < min(len(a), len(b)) and a[expected] == b[expected]:
        expected += 1
    assert common_prefix(np.array(a, dtype=np.int32), np.array(b, dtype=np.int32)) == expected
