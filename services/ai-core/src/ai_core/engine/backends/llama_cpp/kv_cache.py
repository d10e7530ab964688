"""The KV cache: the prefix tree and the real cache, kept in step.

Every method changes both or neither. Positions are token positions within a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_core.engine.backends.llama_cpp.context import Context
from ai_core.engine.backends.llama_cpp.prefix_tree import Cut, PrefixTree
from ai_core.engine.backends.port import Tokens


@dataclass(frozen=True, slots=True)
class Saved:
    """The private tail of a paused sequence: positions [start, end). ``state`` is None if it was too
    large to be kept."""

    state: bytes | None
    start: int
    end: int


class KvCache:
    """Slots are llama.cpp's sequence ids. The last one is kept free for copies in transit."""

    def __init__(self, context: Context, sequence_ids: int, *, shares: bool) -> None:
        self._context = context
        self._shares = shares
        self._tree = PrefixTree()
        self._free_slots = list(range(sequence_ids - 1))
        self._transit = sequence_ids - 1
        self._private: dict[int, int] = {}
        self.evictions = 0

    @property
    def free(self) -> int:
        """Cells that nothing holds."""
        return self._context.cells - self._tree.cells - sum(self._private.values())

    @property
    def used(self) -> int:
        return self._context.cells - self.free

    def evictable(self) -> int:
        """Cells that only finished sequences hold."""
        return self._tree.evictable()

    def held(self, namespace: str, prompt: Tokens) -> int:
        """How many leading tokens of a prompt need not be computed. The last one always must be,
        because its logits are wanted."""
        return self._tree.match(namespace, prompt[:-1]).length if self._shares else 0

    def enter(self, namespace: str, prompt: Tokens) -> tuple[int, int]:
        """A slot for a new sequence, and the number of prompt tokens that it shares from the start."""
        slot = self._take_slot()
        # A namespace of its own keeps a sequence that cannot share away from all others.
        namespace = namespace if self._shares else f"slot {slot}"
        match = self._tree.match(namespace, prompt[:-1])
        if match.slot is not None and match.length:
            self._context.share(match.slot, slot, 0, match.length)
        self._tree.attach(slot, namespace, prompt[: match.length])
        self._private[slot] = 0
        return slot, match.length

    def computed(self, slot: int, tokens: Tokens) -> None:
        """Prompt tokens are in the cache from now on, for others to share."""
        for merge in self._tree.extend(slot, tokens):
            self._context.forget(slot, merge.start, merge.end)
            self._context.share(merge.source, slot, merge.start, merge.end)

    def grew(self, slot: int, count: int) -> None:
        """Tokens are in the cache; they join the tree when their sequence ends. Mostly generated ones."""
        self._private[slot] += count

    def finish(self, slot: int, private: Tokens) -> None:
        """A sequence has ended; what it computed stays until the room is needed."""
        self._settle(slot, private)
        del self._private[slot]
        if self._shares:
            self._apply(self._tree.finish(slot))
        else:
            self._apply([self._tree.drop(slot)])

    def make_room(self, cells: int) -> bool:
        """Evict until so many cells are free. False: not that much could be given up."""
        if self.free < cells:
            cuts = self._tree.evict(cells - self.free)
            self.evictions += len(cuts)
            self._apply(cuts)
        return self.free >= cells

    def private_tail(self, slot: int) -> int:
        """Cells that pausing this slot's sequence would free."""
        return self._tree.exclusive(slot) + self._private[slot]

    def holds(self, slot: int) -> int:
        """Tokens of a slot that are in the cache, shared ones included."""
        return self._tree.length(slot) + self._private.get(slot, 0)

    def pause(self, slot: int, private: Tokens, most_bytes: int) -> Saved | None:
        """Copy the private tail out, if it takes at most ``most_bytes``, and free its cells. None:
        nothing is private."""
        self._settle(slot, private)
        end = self._tree.length(slot)
        start = end - self._tree.exclusive(slot)
        if start == end:
            return None
        self._context.share(slot, self._transit, start, end)
        fits = self._context.state_bytes(self._transit) <= most_bytes
        state = self._context.save(self._transit) if fits else None
        self._context.truncate(self._transit, 0)
        self._tree.cut(slot, start)
        self._context.truncate(slot, start)
        return Saved(state, start, end)

    def resume(self, slot: int, saved: Saved, tail: Tokens) -> bool:
        """Put a tail back. False: the cache had no room for it, nothing was changed."""
        if saved.state is None or not self._context.restore(self._transit, saved.state):
            return False
        self._context.share(self._transit, slot, saved.start, saved.end)
        self._context.truncate(self._transit, 0)
        self.computed(slot, tail)
        return True

    def forget(self, namespace: str) -> None:
        """Give up what finished sequences left in a namespace; none may be running there."""
        self._apply(self._tree.forget(namespace))

    def release(self, slot: int) -> None:
        """Forget a sequence altogether."""
        self._private.pop(slot, None)
        self._apply([self._tree.drop(slot)])

    def _settle(self, slot: int, private: Tokens) -> None:
        self.computed(slot, private)
        self._private[slot] = 0

    def _take_slot(self) -> int:
        if not self._free_slots:
            cut = self._tree.evict_slot()
            assert cut is not None, "there are more slots than sequences"
            self.evictions += 1
            self._apply([cut])
        return self._free_slots.pop()

    def _apply(self, cuts: list[Cut]) -> None:
        for cut in cuts:
            self._context.truncate(cut.slot, cut.keep)
            if cut.keep == 0:
                self._free_slots.append(cut.slot)
