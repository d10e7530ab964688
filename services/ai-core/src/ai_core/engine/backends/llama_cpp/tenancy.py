"""Who holds room in the KV cache: entering, pausing and resuming sequences.

Nobody gets an error because cells ran out: cached prefixes go first, then the newest sequence of
the lowest priority is paused by copying its private tail to memory, and it comes back when there
is room. Only when that memory is spent too is a sequence's cache dropped and computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from ai_core.engine.backends.llama_cpp.kv_cache import KvCache, Saved
from ai_core.engine.backends.llama_cpp.running import Running
from ai_core.engine.backends.llama_cpp.scheduler import choose_paused, choose_resumed, may_enter


class Tenancy:
    """Decides with the pure rules of :mod:`.scheduler` and carries it out on the cache."""

    def __init__(self, cache: KvCache, pause_bytes: int) -> None:
        self._cache = cache
        self._bytes_left = pause_bytes
        self.pauses = 0

    def settle(self, sequences: dict[int, Running]) -> None:
        """Before a step: make room for the next token of everyone who decodes, then let in whom
        there is room for."""
        self._make_room_for_decodes(sequences)
        paused = [running for running in sequences.values() if running.paused]
        if paused:
            self._resume(sequences, paused)
        else:
            self._admit(sequences)

    def make_room_for_prefill(self, sequences: dict[int, Running], wanted: int) -> int:
        """Free cells for prompt tokens, evicting up to ``wanted``. When there are none at all and
        nobody decodes, somebody has to give way. Returns the free cells."""
        self._cache.make_room(wanted)
        active = _active(sequences.values())
        while self._cache.free <= 0 and not any(running.decodes for running in active):
            if not self._give_way(sequences):
                break
            active = _active(sequences.values())
        return self._cache.free

    def forget(self, running: Running) -> None:
        """A sequence ended while it was paused, or is to lose its copy."""
        if running.saved is not None:
            self._bytes_left += len(running.saved.state)
            running.saved = None

    def _make_room_for_decodes(self, sequences: dict[int, Running]) -> None:
        while not self._cache.make_room(sum(running.decodes for running in sequences.values())):
            if not self._give_way(sequences):
                return

    def _give_way(self, sequences: dict[int, Running]) -> bool:
        """Pause one, or as the last resort drop what the paused ones still hold. False: neither."""
        chosen = choose_paused([running.tenant() for running in _active(sequences.values())])
        if chosen is not None:
            self._pause(sequences[chosen])
            return True
        for running in sequences.values():
            if running.paused and running.computed:
                self._drop(running)
                return True
        return False

    def _pause(self, running: Running) -> None:
        self.pauses += 1
        running.paused = True
        private = self._cache.private_tail(running.slot)
        saved = self._cache.pause(running.slot, running.uncommitted) if private else None
        running.committed = running.computed
        if saved is None:
            return
        running.committed = saved.start
        if len(saved.state) > self._bytes_left:
            self._drop(running)
            return
        running.saved = saved
        self._bytes_left -= len(saved.state)

    def _drop(self, running: Running) -> None:
        """Forget what a paused sequence has computed beyond what it can share when it returns."""
        self.forget(running)
        self._cache.release(running.slot)
        running.slot, running.computed = self._cache.enter(running.sequence.namespace, running.tokens(0, 1))
        running.committed = running.computed

    def _resume(self, sequences: dict[int, Running], paused: list[Running]) -> None:
        chosen = choose_resumed([running.tenant() for running in paused])
        assert chosen is not None
        running = sequences[chosen]
        saved = running.saved
        needed = saved.end - saved.start if saved else running.remaining
        count = len(_active(sequences.values()))
        if not may_enter(self._cache.free + self._cache.evictable(), needed, count):
            return
        if saved is None:
            self._reenter(running)
        elif self._find_room(needed, count, [other for other in paused if other is not running]):
            self._restore(running, saved)

    def _find_room(self, cells: int, active: int, others: list[Running]) -> bool:
        """Room for a returning sequence. When nobody else runs, paused ones lose what they still hold."""
        while not self._cache.make_room(cells):
            holder = next((other for other in others if other.computed), None)
            if active or holder is None:
                return False
            self._drop(holder)
        return True

    def _reenter(self, running: Running) -> None:
        """Back without a copy: what others hold of it by now is shared, the rest computed anew."""
        if running.computed == 0:
            self._cache.release(running.slot)
            known = running.tokens(0, running.known)
            running.slot, running.computed = self._cache.enter(running.sequence.namespace, known)
            running.committed = running.computed
        running.paused = False

    def _restore(self, running: Running, saved: Saved) -> None:
        if self._cache.resume(running.slot, saved, running.tokens(saved.start, saved.end)):
            self.forget(running)
            running.committed = saved.end
        else:
            self._drop(running)
        running.paused = False

    def _admit(self, sequences: dict[int, Running]) -> None:
        waiting = [running for running in sequences.values() if not running.entered]
        if not waiting:
            return
        count = len(_active(sequences.values()))
        room = self._cache.free + self._cache.evictable()
        for running in sorted(waiting, key=Running.service_order):
            if not may_enter(room, running.remaining, count):
                return
            running.entered = True
            count += 1
            room -= running.remaining


def _active(sequences: Iterable[Running]) -> list[Running]:
    return [running for running in sequences if running.entered and not running.paused]
