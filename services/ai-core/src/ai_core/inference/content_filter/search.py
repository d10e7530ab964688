"""Whether a whole text holds a match, and nothing more: the fast way for prompts. Pure.

The automata's states are remembered as they are met, with where each character leads from them, so a
character mostly costs one look into a table.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)
_REMEMBERED_MOVES = 200_000


class Automaton(Protocol[State]):
    """What finds one list in a text, as a function from state to state."""

    def begin(self) -> State:
        """Before the first character."""

    def after(self, state: State, character: str) -> State | None:
        """One character later; None: a match is complete."""

    def found_at_end(self, state: State) -> bool:
        """Whether a match is complete because the text ends."""


class _Node(Generic[State]):
    """A state that was met; ``state`` None: a match is complete."""

    __slots__ = ("next", "state")

    def __init__(self, state: State | None) -> None:
        self.state = state
        self.next: dict[str, _Node[State]] = {}


class Table(Generic[State]):
    """The states of one automaton, as far as they were met by any text."""

    def __init__(self, automaton: Automaton[State]) -> None:
        self._automaton = automaton
        self._forget()

    def search(self) -> Search[State]:
        """Begins to read a text."""
        return Search(self, self._first)

    def explore(self, node: _Node[State], character: str) -> _Node[State]:
        """Where a character leads that was not read in this state before."""
        if node.state is None:
            return node
        if self._moves >= _REMEMBERED_MOVES:
            self._forget()
        state = self._automaton.after(node.state, character)
        found = self._nodes.setdefault(state, _Node(state))
        node.next[character] = found
        self._moves += 1
        return found

    def found_at_end(self, node: _Node[State]) -> bool:
        """Whether a text that ends in this state holds a match."""
        return node.state is None or self._automaton.found_at_end(node.state)

    def _forget(self) -> None:
        self._moves = 0
        self._first: _Node[State] = _Node(self._automaton.begin())
        self._nodes: dict[State | None, _Node[State]] = {self._first.state: self._first}


class Search(Generic[State]):
    """Reads one text, in whatever pieces it comes."""

    def __init__(self, table: Table[State], first: _Node[State]) -> None:
        self._table = table
        self._node = first

    def feed(self, text: str) -> bool:
        """Whether the text so far holds a match."""
        node = self._node
        for character in text:
            following = node.next.get(character)
            node = self._table.explore(node, character) if following is None else following
        self._node = node
        return node.state is None

    def finish(self) -> bool:
        """Whether the text, which is over, holds a match."""
        return self._table.found_at_end(self._node)
