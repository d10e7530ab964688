"""Long conversations lose their oldest turns: rarely, many at once, and never too few."""

from __future__ import annotations

from itertools import dropwhile

from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.messages import ChatMessage, ToolCall
from ai_core.inference.sessions.conversation import Conversation, size_of
from ai_core.inference.sessions.trimming import KEPT_SHARE, turns_to_drop

sizes = st.lists(st.integers(1, 500), max_size=60)
fixed = st.integers(0, 2_000)
budgets = st.integers(1, 5_000)
limits = st.integers(0, 50)


@given(sizes, fixed, budgets, limits)
def test_nothing_goes_while_everything_fits(sizes: list[int], fixed: int, budget: int, most: int) -> None:
    fits = fixed + sum(sizes) <= budget and len(sizes) <= most
    assert (turns_to_drop(sizes, fixed=fixed, budget=budget, max_turns=most) == 0) == (fits or not sizes)


@given(sizes, fixed, budgets, limits)
def test_what_is_left_fits_if_anything_can(sizes: list[int], fixed: int, budget: int, most: int) -> None:
    dropped = turns_to_drop(sizes, fixed=fixed, budget=budget, max_turns=most)
    left = sizes[dropped:]
    assert len(left) <= most
    assert fixed + sum(left) <= budget or not left


@given(sizes, fixed, budgets, limits)
def test_no_more_goes_than_is_needed_for_a_quarter_of_room(
    sizes: list[int], fixed: int, budget: int, most: int
) -> None:
    dropped = turns_to_drop(sizes, fixed=fixed, budget=budget, max_turns=most)
    if dropped:
        one_more = sizes[dropped - 1 :]
        assert fixed + sum(one_more) > KEPT_SHARE * budget or len(one_more) > KEPT_SHARE * most - 1


@given(
    st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=50, max_size=200),
    st.integers(0, 300),
    st.integers(2, 40),
)
def test_between_two_cuts_the_beginning_stays_while_a_quarter_is_filled(
    turns: list[tuple[int, int]], instructions: int, most: int
) -> None:
    """A conversation of many turns, each a question and its answer: what engines have computed of its
    beginning stays good from one cut to the next."""
    budget = 2_000
    kept: list[int] = []
    after_cut: tuple[int, int] | None = None
    for question, answer in turns:
        dropped = turns_to_drop(kept, fixed=instructions + question, budget=budget, max_turns=most)
        if dropped and after_cut is not None:
            grown = sum(kept) + question - after_cut[0]
            longer = len(kept) - after_cut[1]
            assert grown >= (1 - KEPT_SHARE) * budget - question or longer >= (1 - KEPT_SHARE) * most - 1
        kept = kept[dropped:]
        if dropped:
            after_cut = (sum(kept) + question, len(kept))
        assert instructions + sum(kept) + question <= budget
        kept.append(question + answer)


messages = st.lists(
    st.builds(ChatMessage, st.sampled_from(["user", "assistant", "tool"]), st.text(max_size=20)), min_size=1
)


@given(st.lists(messages, max_size=8))
def test_a_conversation_says_what_was_said_in_that_order(parts: list[list[ChatMessage]]) -> None:
    conversation = new()
    for part in parts:
        conversation = conversation.with_new(part)
    assert conversation.messages == [message for part in parts for message in part]


@given(st.lists(messages, max_size=8))
def test_a_turn_begins_with_the_user_and_is_never_empty(parts: list[list[ChatMessage]]) -> None:
    conversation = new()
    for part in parts:
        conversation = conversation.with_new(part)
    assert all(turn for turn in conversation.turns)
    assert all(turn[0].role == "user" for turn in conversation.turns[1:])
    for turn in conversation.turns:
        after_the_question = dropwhile(lambda message: message.role == "user", turn)
        assert all(message.role != "user" for message in after_the_question)


def new(**fields: object) -> Conversation:
    return Conversation(session_id="s", created_at=0.0, updated_at=0.0, **fields)  # type: ignore[arg-type]


def said(role: str, text: str = "x") -> ChatMessage:
    return ChatMessage(role, text)


def test_instructions_replace_those_of_before_and_stay_otherwise() -> None:
    first = new().with_new([said("system", "Be brief."), said("user")])
    assert first.with_new([said("user")]).instructions == [said("system", "Be brief.")]
    changed = first.with_new([said("system", "Be long."), said("user")])
    assert changed.instructions == [said("system", "Be long.")]
    assert len(changed.turns) == 1


def test_calls_and_their_results_belong_to_the_turn_that_asked_for_them() -> None:
    call = ChatMessage("assistant", "", tool_calls=[ToolCall("id", "f", "{}")])
    result = ChatMessage("tool", "42", tool_call_id="id", name="f")
    conversation = new().with_new([said("user")]).answered(call, 10, 1.0).with_new([result])
    conversation = conversation.answered(said("assistant"), 20, 2.0).with_new([said("user")])
    assert [[message.role for message in turn] for turn in conversation.turns] == [
        ["user", "assistant", "tool", "assistant"],
        ["user"],
    ]


def conversation_of(turns: int, characters: int, **fields: object) -> Conversation:
    conversation = new(**fields)
    for _ in range(turns):
        conversation = conversation.with_new([said("user", "x" * characters)])
        size = size_of(conversation.messages)
        conversation = conversation.answered(said("assistant", "x" * characters), size // 4, 1.0)
    return conversation.with_new([said("user", "x" * characters)])


def test_room_is_kept_for_the_answer_but_no_more_than_a_quarter() -> None:
    # About a quarter of a token per character, 58 tokens per turn.
    conversation = conversation_of(15, 100, context_length=1000)
    assert conversation.surplus(max_tokens=1, max_turns=100) == 0
    assert conversation.surplus(max_tokens=249, max_turns=100) > 0
    assert conversation.surplus(max_tokens=100_000, max_turns=100) == conversation.surplus(250, 100)


def test_without_a_known_context_only_the_number_of_turns_counts() -> None:
    conversation = conversation_of(30, 10_000)
    assert conversation.surplus(max_tokens=512, max_turns=100) == 0
    assert conversation.surplus(max_tokens=512, max_turns=20) == 30 - int(KEPT_SHARE * 19)


def test_what_is_new_always_stays() -> None:
    conversation = new(context_length=100).with_new([said("user", "x" * 10_000)])
    assert conversation.surplus(max_tokens=10, max_turns=1) == 0
    longer = conversation_of(3, 10_000, context_length=100)
    cut = longer.without_oldest(longer.surplus(max_tokens=10, max_turns=100))
    assert (len(cut.turns), cut.dropped) == (1, 3)


def test_the_estimate_follows_what_the_model_counted() -> None:
    """One token per character where there were four characters in a token before: much less fits."""
    conversation = conversation_of(15, 100, context_length=1000)
    dense = conversation.answered(said("assistant"), size_of(conversation.messages), 1.0)
    assert dense.with_new([said("user")]).surplus(max_tokens=1, max_turns=100) > 10
