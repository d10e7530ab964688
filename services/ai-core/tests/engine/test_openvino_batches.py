"""What OpenVINO's backend decides without OpenVINO: whose rows a batch holds, what the cache holds, and how
namespaces are kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_core.engine.backends.openvino.held import BLOCK, HeldPrefixes
from ai_core.engine.backends.openvino.marking import MARKED, FreshMarks, Mark, cut, id_bits, marked, plain
from ai_core.engine.backends.openvino.rows import Segment, Unreadable, read_batch
from ai_core.engine.backends.openvino.slices import (
    HALF,
    SIZES,
    STEP,
    STRETCH,
    WHOLE,
    Slicing,
    fills_a_block,
    is_long,
    next_limit,
    size_beside,
)
from ai_core.engine.backends.step_cost import Load, StepCost
from ai_core.engine.tokens import Tokens, common_prefix

VOCABULARY = 151_936


@dataclass
class Known:
    id: int
    all: list[int]
    next: int | None = None

    @property
    def known(self) -> int:
        return len(self.all)

    def token(self, position: int) -> int:
        return self.all[position]

    def tokens(self, start: int, end: int) -> Tokens:
        return np.array(self.all[start:end], dtype=np.int32)


def batch(*parts: tuple[Known, int, int]) -> tuple[Tokens, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    tokens = [token for known, start, end in parts for token in known.all[start:end]]
    positions = [place for _, start, end in parts for place in range(start, end)]
    return np.array(tokens, dtype=np.int32), np.array(positions, dtype=np.int64)


def test_those_who_decode_and_those_whose_prompts_are_read_are_told_apart() -> None:
    first, second, third = Known(1, [5, 6, 7], 2), Known(2, [5, 6, 7, 8, 9], 4), Known(3, list(range(40)))
    read = read_batch(*batch((first, 2, 3), (second, 4, 5), (third, 0, 32)), [first, second, third])
    assert read == [Segment(1, 2, 3, True), Segment(2, 4, 5, True), Segment(3, 0, 32, False)]


def test_of_two_that_look_alike_the_older_one_goes_first() -> None:
    old, new = Known(1, [5, 6, 7], 2), Known(2, [5, 6, 7], 2)
    assert [segment.id for segment in read_batch(*batch((old, 2, 3), (new, 2, 3)), [old, new])] == [1, 2]


def test_who_is_set_back_is_found_where_it_begins_again() -> None:
    back, other = Known(1, list(range(10, 80)), 69), Known(2, [1, 2, 3], 2)
    read = read_batch(*batch((other, 2, 3), (back, 32, 70)), [back, other])
    assert read == [Segment(2, 2, 3, True), Segment(1, 32, 70, True)]


def test_tokens_of_nobody_are_not_taken_for_somebodys() -> None:
    known = Known(1, [5, 6, 7], 2)
    with pytest.raises(Unreadable, match="no sequence has the token 8"):
        read_batch(np.array([8], dtype=np.int32), np.array([2]), [known])


@dataclass(frozen=True)
class Drawn:
    """A sequence in some state, and how many tokens of it the next step takes."""

    prompt: list[int]
    answer: list[int]
    done: int
    taken: int


SEQUENCES = st.lists(
    st.builds(
        Drawn,
        st.lists(st.integers(0, 2), min_size=2, max_size=12),
        st.lists(st.integers(0, 2), max_size=4),
        st.integers(0, 11),
        st.integers(1, 12),
    ),
    min_size=1,
    max_size=6,
)


@given(SEQUENCES)
def test_a_batch_in_the_order_of_the_scheduler_is_read_back_as_it_was(drawn: list[Drawn]) -> None:
    sequences: list[Known] = []
    decodes: list[tuple[Known, int, int]] = []
    prompts: list[tuple[Known, int, int]] = []
    for number, one in enumerate(drawn):
        known = Known(number, one.prompt + one.answer)
        sequences.append(known)
        # Whoever has said something decodes, in every step. Of a prompt, at least two tokens are left.
        begin = known.known - 1 if one.answer else min(one.done, known.known - 2)
        known.next = begin
        if one.answer:
            decodes.append((known, begin, begin + 1))
        elif not prompts or prompts[-1][2] == prompts[-1][0].known:
            # The first prompt that is cut fills the step: nobody comes behind it.
            prompts.append((known, begin, min(begin + one.taken, known.known)))
    order = decodes + prompts
    read = read_batch(*batch(*order), sequences)
    assert [(part.start, part.end, part.sampled) for part in read] == [
        (start, end, end == known.known) for known, start, end in order
    ]
    for part, (known, start, end) in zip(read, order, strict=True):
        # Where two could be meant, they have the same tokens there.
        assert sequences[part.id].all[start:end] == known.all[start:end]


PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=4 * BLOCK).map(
    lambda tokens: np.array(tokens, dtype=np.int32)
)


@given(st.lists(PROMPTS, max_size=5), PROMPTS)
def test_what_was_computed_is_held_in_whole_blocks(computed: list[Tokens], prompt: Tokens) -> None:
    held = HeldPrefixes(blocks=100)
    for tokens in computed:
        compute(held, tokens)
    best = max((common_prefix(tokens, prompt) // BLOCK * BLOCK for tokens in computed), default=0)
    assert held.find("", prompt).tokens == min(best, len(prompt) - 1)
    assert held.find("another", prompt).tokens == 0


def compute(held: HeldPrefixes, tokens: Tokens, mark: Mark = ()) -> None:
    """As a sequence does, which marks the first block that it computes anew."""
    found = held.find("", tokens)
    new = -(-found.tokens // BLOCK) * BLOCK
    held.computed("", tokens, found.marks | ({new: mark} if mark else {}))


class Pipeline:
    """OpenVINO's cache as it was seen to be: blocks that are full, and the last one where it is not, each
    known by its ids and all ids before it."""

    def __init__(self) -> None:
        self.blocks: set[tuple[int, ...]] = set()

    def add(self, ids: list[int]) -> int:
        """Compute a sequence; returns how many of its tokens were found."""
        found = 0
        while tuple(ids[: found + BLOCK]) in self.blocks and found + BLOCK <= len(ids):
            found += BLOCK
        rest = range(found + 1, min(found + BLOCK, len(ids) + 1))
        found = next((end for end in rest if tuple(ids[:end]) in self.blocks), found)
        self.blocks |= {tuple(ids[:end]) for end in range(BLOCK, len(ids) + 1, BLOCK)}
        self.blocks.add(tuple(ids))
        return found


@given(st.lists(st.tuples(PROMPTS, st.integers(0, 40), st.booleans()), max_size=12))
def test_only_whole_blocks_are_ever_shared_and_no_others_than_those_that_are_known(
    drawn: list[tuple[Tokens, int, bool]],
) -> None:
    """Where the pipeline shares a block that is not full, two sequences overwrite each other there."""
    pipeline, held, fresh = Pipeline(), HeldPrefixes(blocks=1_000), FreshMarks(VOCABULARY)
    for prompt, answer, comes_back in drawn:
        found = held.find("", prompt)
        new = -(-found.tokens // BLOCK) * BLOCK
        marks = dict(found.marks)
        if new < len(prompt):
            marks[new] = fresh.mark(len(prompt) - new)
        ids = marked(prompt, marks, VOCABULARY)[0].tolist()
        assert pipeline.add([*ids, *[7] * answer]) == new
        # Some are not accounted for in time: the same is computed once more meanwhile.
        if comes_back:
            held.computed("", np.append(prompt, np.full(answer, 7, np.int32)), marks)


def test_what_was_not_used_for_the_longest_time_is_forgotten_first_its_end_before_its_beginning() -> None:
    held = HeldPrefixes(blocks=3)
    old, new = np.zeros(2 * BLOCK, np.int32), np.ones(2 * BLOCK, np.int32)
    compute(held, old)
    compute(held, new)
    assert len(held) == 3
    assert held.find("", np.append(new, new[:1])).tokens == 2 * BLOCK
    assert held.find("", np.append(old, old[:1])).tokens == BLOCK


def test_of_what_was_computed_twice_the_first_is_found_with_its_own_continuation() -> None:
    held = HeldPrefixes(blocks=100)
    short, long = np.zeros(BLOCK, np.int32), np.zeros(3 * BLOCK, np.int32)
    held.computed("", short, {0: (1,)})
    held.computed("", long, {0: (2,)})
    found = held.find("", long)
    assert (found.tokens, found.marks) == (BLOCK, {0: (1,)})
    held.computed("", long, {0: (1,), BLOCK: (3,)})
    assert held.find("", long).marks == {0: (1,), BLOCK: (3,)}


def test_a_block_of_which_nothing_can_be_found_takes_room_too() -> None:
    held = HeldPrefixes(blocks=2)
    tokens = np.zeros(2 * BLOCK, np.int32)
    compute(held, tokens)
    held.wasted()
    assert len(held) == 2
    assert held.find("", np.append(tokens, tokens[:1])).tokens == BLOCK


class Cache:
    """What OpenVINO's cache was seen to find: whole blocks; of a block that is not full, what was computed
    when it was new; what was added later only when the block was full and a token stood behind it."""

    def __init__(self) -> None:
        self.found = {0}

    def compute(self, start: int, end: int, *, beyond: bool) -> None:
        last = end + beyond
        for limit in range(start + 1, end + 1):
            block = (limit - 1) // BLOCK * BLOCK
            was_new = block >= start
            if (was_new and limit in (end, block + BLOCK)) or (limit == block + BLOCK and last > limit):
                self.found.add(limit)


@given(
    st.integers(1, 5_000),
    st.integers(0, 5_000),
    st.lists(st.sampled_from([*SIZES, STEP]), min_size=1, max_size=20),
)
def test_slices_lead_to_the_end_and_nothing_is_computed_twice(
    prompt: int, held: int, sizes: list[int]
) -> None:
    done, cache = min(held // BLOCK * BLOCK, (prompt - 1) // BLOCK * BLOCK), Cache()
    cache.found.add(done)
    step = 0
    while (limit := next_limit(prompt, done, sizes[step % len(sizes)])) is not None:
        assert done < limit < prompt
        cache.compute(done, limit, beyond=fills_a_block(done, limit))
        assert limit in cache.found
        done, step = limit, step + 1
    assert prompt - done <= STEP
    assert is_long(prompt, 0) == (prompt > WHOLE)


@given(st.integers(1, 16), st.integers(1, 2_000), st.integers(0, 8_000), st.floats(0, 2_000))
def test_a_slice_is_as_large_as_the_time_allows(streams: int, length: int, depth: int, target: float) -> None:
    cost, beside = StepCost(even=True), Load(streams, streams * length, streams * length)
    size = size_beside(beside, depth, cost, Slicing(itl_target_ms=target))
    most = target or STRETCH * cost.predict(beside)
    larger = [other for other in SIZES if other > size]
    assert size == HALF or cost.predict(beside.plus(size, depth)) <= most
    assert all(cost.predict(beside.plus(other, depth)) > most for other in larger)
    assert size + streams <= STEP


def test_slices_become_smaller_the_deeper_a_prompt_is_read() -> None:
    cost, beside = StepCost(even=True), Load(16, 8_000, 8_000)
    sizes = [size_beside(beside, depth, cost, Slicing()) for depth in range(0, 20_000, 500)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] == HALF


@pytest.mark.parametrize(("wanted", "size"), [(1, HALF), (40, BLOCK), (64, 64), (4_096, 4_096)])
def test_a_configured_slice_is_kept_to_in_half_blocks(wanted: int, size: int) -> None:
    assert size_beside(Load(1, 1, 1), 0, StepCost(even=True), Slicing(fixed=wanted)) == size


IDS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40).map(
    lambda tokens: np.array(tokens, dtype=np.int32)
)


BLOCK_MARKS = st.dictionaries(st.integers(0, 3).map(lambda n: 8 * n), st.integers(1, 4), max_size=3)


@given(IDS, BLOCK_MARKS)
def test_marks_can_be_taken_off_again_and_fit_into_31_bits(prompt: Tokens, places: dict[int, int]) -> None:
    fresh = FreshMarks(VOCABULARY)
    marks = {start: fresh.mark(count) for start, count in places.items() if start + count <= len(prompt)}
    ids = marked(prompt, marks, VOCABULARY)
    assert ids.shape == (1, len(prompt))
    assert int(ids.max()) < 2**31
    assert plain(ids[0], VOCABULARY).tolist() == prompt.tolist()
    changed = set(np.flatnonzero(ids[0] != prompt).tolist())
    assert changed <= {start + n for start, mark in marks.items() for n in range(len(mark))}
    assert set(marks) <= changed


@given(IDS, st.data())
def test_a_token_behind_a_slice_is_the_prompts_next_one_and_is_never_found_for_it(
    prompt: Tokens, data: st.DataObject
) -> None:
    ids = marked(prompt, {0: FreshMarks(VOCABULARY).mark(len(prompt))}, VOCABULARY)
    limit = data.draw(st.integers(0, len(prompt) - 1))
    assert cut(ids, limit, VOCABULARY, beyond=False).tolist() == ids[:, :limit].tolist()
    longer = cut(ids, limit, VOCABULARY, beyond=True)
    assert longer[:, :limit].tolist() == ids[:, :limit].tolist()
    assert plain(longer[0], VOCABULARY).tolist() == prompt[: limit + 1].tolist()
    if limit >= MARKED:
        assert longer[0, limit] != ids[0, limit]


@pytest.mark.parametrize("tokens", [1, 2, 40])
def test_no_two_marks_are_alike_while_either_is_remembered(tokens: int) -> None:
    fresh = FreshMarks(VOCABULARY)
    marks = [fresh.mark(tokens) for _ in range(8_000)]
    assert len(set(marks)) == len(marks)
    assert {len(mark) for mark in marks} == {min(tokens, MARKED)}
    assert id_bits(VOCABULARY) == 18
