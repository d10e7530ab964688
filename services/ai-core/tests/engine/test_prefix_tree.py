"""What the prefix tree promises: shared beginnings are found, cells are counted exactly, and what
it tells to cut or merge keeps a real cache in agreement with it."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ai_core.engine.backends.llama_cpp.prefix_tree import Cut, Merge, PrefixTree
from ai_core.engine.backends.port import Tokens


def tokens(*values: int) -> Tokens:
    return np.asarray(values, dtype=np.int32)


def grown(tree: PrefixTree, slot: int, *values: int, namespace: str = "") -> None:
    """A slot that holds these tokens."""
    prompt = tokens(*values)
    match = tree.match(namespace, prompt)
    tree.attach(slot, namespace, prompt[: match.length])
    tree.extend(slot, prompt[match.length :])


def test_a_shared_beginning_is_found_and_costs_nothing_again() -> None:
    tree = PrefixTree()
    grown(tree, 0, 1, 2, 3, 4)
    match = tree.match("", tokens(1, 2, 3, 9))
    assert (match.length, match.slot) == (3, 0)
    grown(tree, 1, 1, 2, 3, 9)
    assert tree.cells == 5


def test_namespaces_never_share() -> None:
    tree = PrefixTree()
    grown(tree, 0, 1, 2, 3)
    assert tree.match("formal-letters", tokens(1, 2, 3)).length == 0


def test_what_two_sequences_computed_at_once_is_merged() -> None:
    tree = PrefixTree()
    tree.attach(0, "", tokens())
    tree.attach(1, "", tokens())
    assert tree.extend(0, tokens(1, 2, 3)) == []
    assert tree.extend(1, tokens(1, 2, 7)) == [Merge(slot=1, source=0, start=0, end=2)]
    assert tree.cells == 4


def test_the_least_recently_used_prefix_is_evicted_first_and_from_its_end() -> None:
    tree = PrefixTree()
    grown(tree, 0, *range(100, 300))
    tree.finish(0)
    grown(tree, 1, *range(500, 700))
    tree.finish(1)
    assert tree.evict(10) == [Cut(slot=0, keep=136)]
    assert tree.match("", tokens(*range(100, 300))).length == 136
    assert tree.length(1) == 200


def test_a_prefix_that_was_used_again_outlives_an_older_one() -> None:
    tree = PrefixTree()
    grown(tree, 0, 1, 2, 3)
    tree.finish(0)
    grown(tree, 1, 7, 8, 9)
    tree.finish(1)
    grown(tree, 2, 1, 2, 3, 4)
    assert tree.evict(1) == [Cut(slot=1, keep=0)]


def test_a_finished_sequence_that_another_contains_frees_its_slot() -> None:
    tree = PrefixTree()
    grown(tree, 0, 1, 2, 3)
    tree.finish(0)
    grown(tree, 1, 1, 2, 3, 4, 5)
    assert tree.finish(1) == [Cut(slot=0, keep=0)]
    assert tree.match("", tokens(1, 2, 3, 4, 5)).length == 5


def test_running_sequences_are_never_evicted() -> None:
    tree = PrefixTree()
    grown(tree, 0, 1, 2, 3)
    assert tree.evict(100) == []
    assert tree.evictable() == 0


def test_of_a_shared_prefix_only_the_unshared_rest_is_evictable() -> None:
    tree = PrefixTree()
    grown(tree, 0, 1, 2, 3, 4)
    grown(tree, 1, 1, 2, 8, 9)
    tree.finish(1)
    assert tree.evictable() == 2


SLOTS = 6
prompts = st.lists(st.integers(0, 2), min_size=1, max_size=14)


class TreeAgainstCells(RuleBasedStateMachine):
    """Drives the tree beside a model of the real cache: a set of (cell, position, token) per slot."""

    @initialize()
    def start(self) -> None:
        self.tree = PrefixTree()
        self.cells: dict[int, dict[int, int]] = {}  # slot -> position -> cell number
        self.content: dict[int, int] = {}  # cell number -> token
        self.running: set[int] = set()
        self.next_cell = 0

    def _free_slot(self) -> int | None:
        return next((slot for slot in range(SLOTS) if slot not in self.cells), None)

    def _collect(self) -> None:
        held = {cell for positions in self.cells.values() for cell in positions.values()}
        self.content = {cell: token for cell, token in self.content.items() if cell in held}

    def _apply(self, cuts: list[Cut]) -> None:
        for cut in cuts:
            kept = {p: c for p, c in self.cells[cut.slot].items() if p < cut.keep}
            if cut.keep:
                self.cells[cut.slot] = kept
            else:
                del self.cells[cut.slot]
        self._collect()

    def _compute(self, slot: int, values: list[int]) -> None:
        start = self.tree.length(slot)
        for offset, token in enumerate(values):
            self.cells[slot][start + offset] = self.next_cell
            self.content[self.next_cell] = token
            self.next_cell += 1
        for merge in self.tree.extend(slot, tokens(*values)):
            for position in range(merge.start, merge.end):
                self.cells[slot][position] = self.cells[merge.source][position]
        self._collect()

    @precondition(lambda self: self._free_slot() is not None)
    @rule(prompt=prompts)
    def enter(self, prompt: list[int]) -> None:
        slot = self._free_slot()
        assert slot is not None
        match = self.tree.match("", tokens(*prompt))
        shared = {} if match.slot is None else self.cells[match.slot]
        self.cells[slot] = {p: shared[p] for p in range(match.length)}
        self.tree.attach(slot, "", tokens(*prompt[: match.length]))
        self.running.add(slot)
        self._compute(slot, prompt[match.length :])

    @precondition(lambda self: self.running)
    @rule(data=st.data(), more=prompts)
    def grow(self, data: st.DataObject, more: list[int]) -> None:
        self._compute(data.draw(st.sampled_from(sorted(self.running))), more)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(slot)
        self._apply(self.tree.finish(slot))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def pause_and_cut_the_private_tail(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.running)))
        keep = self.tree.length(slot) - self.tree.exclusive(slot)
        before = len(self.content)
        freed = self.tree.cut(slot, keep)
        self.cells[slot] = {p: c for p, c in self.cells[slot].items() if p < keep}
        self._collect()
        assert before - len(self.content) == freed

    @rule(cells=st.integers(1, 10))
    def evict(self, cells: int) -> None:
        before, evictable = len(self.content), self.tree.evictable()
        self._apply(self.tree.evict(cells))
        assert before - len(self.content) >= min(cells, evictable)

    @rule()
    def evict_a_slot(self) -> None:
        cut = self.tree.evict_slot()
        self._apply([cut] if cut else [])

    @invariant()
    def cells_are_counted_exactly(self) -> None:
        assert self.tree.cells == len(self.content)

    @invariant()
    def every_slot_holds_what_the_tree_says(self) -> None:
        for slot, positions in self.cells.items():
            assert sorted(positions) == list(range(self.tree.length(slot)))

    @invariant()
    def every_held_beginning_is_found(self) -> None:
        for positions in self.cells.values():
            text = [self.content[positions[p]] for p in range(len(positions))]
            match = self.tree.match("", tokens(*text))
            assert match.length == len(text)
            if match.slot is not None:
                source = self.cells[match.slot]
                assert [self.content[source[p]] for p in range(match.length)] == text


TestTreeAgainstCells = TreeAgainstCells.TestCase
TestTreeAgainstCells.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
