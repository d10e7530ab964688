"""Which tokens the KV cache holds, for whom, and what may be evicted.

A radix tree over all sequences, running and finished. A node is a span of tokens whose keys and
values lie in the cache exactly once; every slot (llama.cpp's sequence id) that passes through a
node holds its cells. A slot whose sequence has ended stays in the tree, idle, so that the next
request with the same beginning finds it; idle slots give way, least recently used first.

The tree only decides. Whoever drives it carries out what it returns (:class:`Merge`,
:class:`Cut`) in the real cache, so that tree and cache always agree.

The idea of a radix tree over cached prefixes: Zheng et al., "SGLang: Efficient Execution of
Structured Language Model Programs", 2024. Here cells are refcounted by the cache itself, so a
node keeps the set of its holders instead of a count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ai_core.engine.backends.port import Tokens
from ai_core.engine.tokens import common_prefix

_EMPTY: Tokens = np.empty(0, dtype=np.int32)
EVICTION_BLOCK = 64
"""Cells are evicted in blocks, so that a full cache is not trimmed token by token."""


@dataclass(frozen=True, slots=True)
class Match:
    """The longest held beginning of some tokens, and a slot that holds it."""

    length: int
    slot: int | None


@dataclass(frozen=True, slots=True)
class Merge:
    """Positions [start, end) were computed twice: the slot is to share those of ``source``."""

    slot: int
    source: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The slot keeps only its first ``keep`` positions; with 0 its id is free again."""

    slot: int
    keep: int


@dataclass(slots=True, eq=False)
class _Node:
    tokens: Tokens
    parent: _Node | None
    children: dict[int, _Node] = field(default_factory=dict)
    holders: set[int] = field(default_factory=set)


class PrefixTree:
    """See the module's text. Slots are small integers chosen by the caller."""

    def __init__(self) -> None:
        self._roots: dict[str, _Node] = {}
        self._tips: dict[int, _Node] = {}
        self._lengths: dict[int, int] = {}
        self._idle: dict[int, None] = {}  # in order of use, the oldest first
        self.cells = 0

    @property
    def idle_slots(self) -> list[int]:
        """Slots of finished sequences, least recently used first."""
        return list(self._idle)

    def length(self, slot: int) -> int:
        """Tokens that a slot holds in the tree."""
        return self._lengths.get(slot, 0)

    def match(self, namespace: str, tokens: Tokens) -> Match:
        """The longest beginning of ``tokens`` that some slot holds."""
        length, slot = 0, None
        for node, shared in self._walk(namespace, tokens):
            length += shared
            slot = next(iter(node.holders))
        return Match(length, slot)

    def attach(self, slot: int, namespace: str, tokens: Tokens) -> None:
        """A new slot holds ``tokens``, all of which must be held already (see :meth:`match`)."""
        assert slot not in self._tips
        tip, length = self._root(namespace), 0
        for node, shared in self._walk(namespace, tokens):
            self._split(node, shared)
            node.holders.add(slot)
            tip = node
            length += shared
        assert length == len(tokens), "attach takes what match returned"
        self._tips[slot] = tip
        self._lengths[slot] = length
        self._refresh_holders(tip)

    def extend(self, slot: int, tokens: Tokens) -> list[Merge]:
        """A slot has computed further tokens. Returns what others hold already: it is to be shared."""
        merges: list[Merge] = []
        tip, position, rest = self._tips[slot], self._lengths[slot], tokens
        while len(rest):
            child = tip.children.get(int(rest[0]))
            if child is None:
                self._append(tip, slot, rest)
                break
            shared = common_prefix(child.tokens, rest)
            self._split(child, shared)
            merges.append(Merge(slot, next(iter(child.holders)), position, position + shared))
            child.holders.add(slot)
            self._tips[slot] = tip = child
            position += shared
            rest = rest[shared:]
        self._lengths[slot] += len(tokens)
        return merges

    def finish(self, slot: int) -> list[Cut]:
        """The slot's sequence has ended: it becomes idle. Returns idle slots that hold nothing of
        their own any more, whose ids are free."""
        self._idle[slot] = None
        redundant = [idle for idle in self._idle if self._is_redundant(idle)]
        # Asked again before each drop: of two equal ones, one stays.
        return [self.drop(idle) for idle in redundant if self._is_redundant(idle)]

    def drop(self, slot: int) -> Cut:
        """The slot holds nothing any more."""
        self.cut(slot, 0)
        self._tips.pop(slot, None)
        self._lengths.pop(slot, None)
        self._idle.pop(slot, None)
        return Cut(slot, 0)

    def cut(self, slot: int, keep: int) -> int:
        """The slot keeps its first ``keep`` tokens. Returns the number of cells that became free."""
        freed, length = 0, self.length(slot)
        node = self._tips.get(slot)
        while node is not None and length > keep:
            start = length - len(node.tokens)
            if start < keep:
                self._split(node, keep - start)
                tail = next(iter(child for child in node.children.values() if slot in child.holders))
                freed += self._leave(tail, slot)
                length = keep
                break
            parent = node.parent
            freed += self._leave(node, slot)
            node, length = parent, start
        if node is not None:
            self._tips[slot] = node
            self._lengths[slot] = length
        return freed

    def exclusive(self, slot: int) -> int:
        """Tokens at the end of a slot that nobody else holds."""
        return self._exclusive(slot, frozenset({slot}))

    def evictable(self) -> int:
        """Cells that only idle slots hold."""
        idle = frozenset(self._idle)
        seen: set[int] = set()
        cells = 0
        for slot in idle:
            node: _Node | None = self._tips[slot]
            while node is not None and id(node) not in seen and node.holders and node.holders <= idle:
                seen.add(id(node))
                cells += len(node.tokens)
                node = node.parent
        return cells

    def evict(self, cells: int, keep: frozenset[int] = frozenset()) -> list[Cut]:
        """Give up idle tails, least recently used first, until ``cells`` are free or nothing is
        left to give. Slots in ``keep`` are spared."""
        cuts: list[Cut] = []
        for slot in list(self._idle):
            if cells <= 0:
                break
            if slot in keep:
                continue
            own = self.exclusive(slot)
            wanted = -(-cells // EVICTION_BLOCK) * EVICTION_BLOCK
            if own > wanted:
                remaining = self.length(slot) - wanted
                cells -= self.cut(slot, remaining)
                cuts.append(Cut(slot, remaining))
            else:
                cells -= own
                cuts.append(self.drop(slot))
        return cuts

    def evict_slot(self) -> Cut | None:
        """Free the id of the least recently used idle slot, if there is one."""
        oldest = next(iter(self._idle), None)
        return None if oldest is None else self.drop(oldest)

    def forget(self, namespace: str) -> list[Cut]:
        """Give up everything in a namespace, where no sequence runs any more."""
        root = self._roots.pop(namespace, None)
        slots = {slot for child in root.children.values() for slot in child.holders} if root else set()
        assert slots <= self._idle.keys(), "a sequence still runs there"
        return [self.drop(slot) for slot in sorted(slots)]

    def touch(self, slot: int) -> None:
        """An idle slot was of use: it becomes the youngest."""
        if slot in self._idle:
            self._idle[slot] = self._idle.pop(slot)

    def _root(self, namespace: str) -> _Node:
        root = self._roots.get(namespace)
        if root is None:
            root = self._roots[namespace] = _Node(tokens=_EMPTY, parent=None)
        return root

    def _walk(self, namespace: str, tokens: Tokens) -> Iterator[tuple[_Node, int]]:
        """The nodes along ``tokens`` and how much of each agrees; only the last may agree in part."""
        node, rest = self._root(namespace), tokens
        while len(rest):
            child = node.children.get(int(rest[0]))
            if child is None:
                return
            shared = common_prefix(child.tokens, rest)
            agrees_fully = shared == len(child.tokens)
            yield child, shared
            if not agrees_fully:
                return
            node, rest = child, rest[shared:]

    def _split(self, node: _Node, at: int) -> None:
        """Cut a node in two, so that ``node`` is its first ``at`` tokens."""
        if at >= len(node.tokens):
            return
        tail = _Node(tokens=node.tokens[at:], parent=node, children=node.children, holders=set(node.holders))
        for child in tail.children.values():
            child.parent = tail
        for slot in node.holders:
            if self._tips.get(slot) is node:
                self._tips[slot] = tail
        node.tokens = node.tokens[:at]
        node.children = {int(tail.tokens[0]): tail}

    def _append(self, tip: _Node, slot: int, tokens: Tokens) -> None:
        if tip.parent is not None and tip.holders == {slot} and not tip.children:
            tip.tokens = np.concatenate((tip.tokens, tokens))
        else:
            node = _Node(tokens=tokens.copy(), parent=tip, holders={slot})
            tip.children[int(tokens[0])] = node
            self._tips[slot] = node
        self.cells += len(tokens)

    def _leave(self, node: _Node, slot: int) -> int:
        """A slot stops holding a node (and has left its descendants before). Returns freed cells."""
        node.holders.discard(slot)
        if node.holders:
            return 0
        assert node.parent is not None
        del node.parent.children[int(node.tokens[0])]
        self.cells -= len(node.tokens)
        return len(node.tokens)

    def _exclusive(self, slot: int, allowed: frozenset[int]) -> int:
        node: _Node | None = self._tips.get(slot)
        count = 0
        while node is not None and node.holders and node.holders <= allowed:
            count += len(node.tokens)
            node = node.parent
        return count

    def _is_redundant(self, slot: int) -> bool:
        tip = self._tips[slot]
        return slot in self._idle and (tip.parent is None or len(tip.holders) > 1)

    def _refresh_holders(self, tip: _Node) -> None:
        """Idle slots along the path of a new slot were of use."""
        for slot in tip.holders & self._idle.keys():
            self.touch(slot)
