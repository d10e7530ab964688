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
        """Before a step: let in whom there is room for, then make room for the next token of
        everyone who decodes."""
        paused = [running for running in sequences.values() if running.paused]
        if paused:
            self._resume(sequences, paused)
        else:
            self.admit(sequences)
        self._make_room_for_decodes(sequences)

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
        if running.saved is not None and running.saved.state is not None:
            self._bytes_left += len(running.saved.state)
        running.saved = None

    def _make_room_for_decodes(self, sequences: dict[int, Running]) -> None:
        while not self._cache.make_room(sum(running.decodes for running in sequences.values())):
            if not self._give_way(sequences):
                return

    def _give_way(self, sequences: dict[int, Running]) -> bool:
        """Pause one, or as the last resort drop what somebody outside still holds. False: neither."""
        chosen = choose_paused([running.tenant() for running in _active(sequences.values())])
        if chosen is not None:
            self._pause(sequences[chosen])
            return True
        return self._drop_a_holder(sequences.values())

    def _drop_a_holder(self, sequences: Iterable[Running]) -> bool:
        """Of those who wait for room and hold some of it meanwhile (a shared prefix): the least urgent
        lets go. False: nobody holds any."""
        outside = [r for r in sequences if (r.paused or not r.entered) and self._cache.holds(r.slot)]
        if not outside:
            return False
        self._drop(min(outside, key=lambda r: (r.entered, r.priority, -r.admitted)))
        return True

    def _pause(self, running: Running) -> None:
        self.pauses += 1
        running.paused = True
        private = self._cache.private_tail(running.slot)
        saved = self._cache.pause(running.slot, running.uncommitted, self._bytes_left) if private else None
        running.committed = running.computed
        if saved is None:
            return
        running.committed = saved.start
        if saved.state is None:
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
        active = _active(sequences.values())
        if not may_enter(self._room(active), needed, len(active)):
            return
        if saved is None:
            self._reenter(running)
            running.paused = False
        elif self._find_room(needed, not active, [r for r in sequences.values() if r is not running]):
            self._restore(running, saved)

    def _room(self, active: list[Running]) -> int:
        """Cells for newcomers: what is free or can be, less what those inside still have to compute."""
        expected = sum(running.remaining for running in active if running.prefills)
        return self._cache.free + self._cache.evictable() - expected

    def _find_room(self, cells: int, nobody_runs: bool, others: list[Running]) -> bool:
        """Room for a returning sequence. When nobody runs, those outside lose what they still hold."""
        while not self._cache.make_room(cells):
            if not nobody_runs or not self._drop_a_holder(others):
                return False
        return True

    def _reenter(self, running: Running) -> None:
        """Without anything in the cache: what others hold of it by now is shared, the rest is computed."""
        if self._cache.holds(running.slot) == 0:
            self._cache.release(running.slot)
            known = running.tokens(0, running.known)
            running.slot, running.computed = self._cache.enter(running.sequence.namespace, known)
            running.committed = running.computed

    def _restore(self, running: Running, saved: Saved) -> None:
        if self._cache.resume(running.slot, saved, running.tokens(saved.start, saved.end)):
            self.forget(running)
            running.committed = saved.end
            running.paused = False
        else:
            # Still paused, with nothing: the next step lets it in as one that has to be computed.
            self._drop(running)

    def admit(self, sequences: dict[int, Running]) -> None:
        """Let sequences enter while there is room for their prompts."""
        waiting = [running for running in sequences.values() if not running.entered]
        for running in sorted(waiting, key=Running.service_order):
            self._reenter(running)
            active = _active(sequences.values())
            if not may_enter(self._room(active), running.remaining, len(active)):
                return
            running.entered = True


def _active(sequences: Iterable[Running]) -> list[Running]:
    return [running for running in sequences if running.entered and not running.paused]
