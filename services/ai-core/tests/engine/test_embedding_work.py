"""Requests for embeddings in slices: every input once, in order, and never more than fits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.embedding_port import Vectors
from ai_core.engine.embedding.work import Room, Work, unit_length
from ai_core.engine.tokens import Tokens

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def inputs_of(lengths: list[int]) -> list[Tokens]:
    return [np.full(length, number, np.int32) for number, length in enumerate(lengths)]


def vectors_of(inputs: list[Tokens]) -> Vectors:
    """Each points where its number says."""
    return np.asarray([[float(tokens[0]) + 1, 2.0, -1.0] for tokens in inputs], np.float32)


@given(LENGTHS, st.integers(1, 60), st.integers(1, 8))
def test_slices_hold_every_input_once_in_order_within_bounds(
    lengths: list[int], rows: int, most: int
) -> None:
    inputs = inputs_of(lengths)
    work = Work(inputs, 3)
    seen: list[int] = []
    while not work.complete:
        part = list(work.next_inputs(Room(rows, most)))
        assert 1 <= len(part) <= most
        assert sum(map(len, part)) <= rows or len(part) == 1
        seen += [int(tokens[0]) for tokens in part]
        work.add(vectors_of(part))
    assert seen == list(range(len(lengths)))
    assert work.tokens == sum(lengths)
    result = np.frombuffer(work.result(), np.float32).reshape(-1, 3)
    assert np.allclose(result, unit_length(vectors_of(inputs)))


@given(LENGTHS, LENGTHS, st.integers(1, 60))
def test_whoever_comes_second_takes_only_what_is_left(first: list[int], second: list[int], rows: int) -> None:
    room = Room(rows, 8)
    taken = Work(inputs_of(first), 3).next_inputs(room)
    room.take(taken)
    more = Work(inputs_of(second), 3).next_inputs(room)
    assert len(taken) + len(more) <= 8
    assert sum(map(len, [*taken, *more])) <= rows or (len(taken) == 1 and not len(more))


def test_shorter_vectors_are_the_beginning_made_whole_again() -> None:
    work = Work(inputs_of([5]), 2)
    work.add(np.asarray([[3.0, 4.0, 12.0]], np.float32))
    assert np.allclose(np.frombuffer(work.result(), np.float32), [0.6, 0.8])


def test_a_vector_of_zeros_stays_one() -> None:
    assert np.array_equal(unit_length(np.zeros((2, 3), np.float32)), np.zeros((2, 3)))
