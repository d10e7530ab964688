"""Prefix coalescing: a prefix that several requests need is computed once.

A request whose long prefix is just being computed for another one (its leader) waits until the leader
has it, and then shares it. The host asks for a verdict before it submits a request to the backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ai_core.engine.tokens import Tokens, common_prefix


@dataclass(frozen=True, slots=True)
class Go:
    """Submit it now."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Ask again in the next step: another sequence is computing the prefix."""

    leader_id: int
    until: int
    """Prompt tokens of the leader that must be ready: what both have in common."""
    raise_priority: int | None
    """The priority that the leader should get, where it is lower than the waiter's."""


@dataclass(slots=True)
class _Leader:
    id: int
    prompt: Tokens
    namespace: str
    begun: int
    """Tokens that were ready when it started; the rest it computes itself."""
    ready: int
    priority: int


class Coalescer:
    """The sequences that are being prefilled now, and who should wait for them.

    Args:
        minimum: tokens that waiting must save at least, 1 or more.
        patience: seconds after which a waiter goes alone.

    Raises:
        ValueError: ``minimum`` is below 1.
    """

    def __init__(self, minimum: int = 64, patience: float = 20.0) -> None:
        if minimum < 1:
            raise ValueError("minimum must be at least 1")
        self._minimum = minimum
        self._patience = patience
        self._leaders: dict[int, _Leader] = {}
        # Whoever is worth waiting for begins with the same `minimum` tokens. So unlike prompts, the
        # usual case, cost one look into this table.
        self._by_head: dict[tuple[str, bytes], dict[int, _Leader]] = {}

    def started(self, sequence_id: int, prompt: Tokens, ready: int, namespace: str, priority: int) -> None:
        """A sequence was submitted; its first ``ready`` prompt tokens are not computed again."""
        self.done(sequence_id)
        leader = _Leader(sequence_id, prompt, namespace, ready, ready, priority)
        self._leaders[sequence_id] = leader
        self._by_head.setdefault(self._head(prompt, namespace), {})[sequence_id] = leader

    def progress(self, sequence_id: int, ready: int) -> None:
        """The first ``ready`` prompt tokens of a sequence can be shared now. Unknown ids are ignored."""
        leader = self._leaders.get(sequence_id)
        if leader is not None:
            leader.ready = ready

    def prioritised(self, sequence_id: int, priority: int) -> None:
        """A sequence's priority was raised. Unknown ids are ignored."""
        leader = self._leaders.get(sequence_id)
        if leader is not None:
            leader.priority = max(leader.priority, priority)

    def done(self, sequence_id: int) -> None:
        """A sequence has its whole prompt now, or it ended in some way. Unknown ids are ignored."""
        leader = self._leaders.pop(sequence_id, None)
        if leader is None:
            return
        head = self._head(leader.prompt, leader.namespace)
        group = self._by_head[head]
        del group[sequence_id]
        if not group:
            del self._by_head[head]

    def verdict(
        self, prompt: Tokens, held: int, namespace: str, priority: int, waited: float
    ) -> Go | WaitFor:
        """Whether a request may be submitted now.

        Args:
            prompt: its token ids.
            held: how many leading ones the backend holds already (``Backend.count``).
            namespace: prefixes are shared only within one.
            priority: the request's, to pull up a leader that is less urgent.
            waited: seconds since the first ``WaitFor`` for this request; 0 if there was none.
        """
        if not self._leaders or waited >= self._patience:
            return Go()
        best: _Leader | None = None
        longest = 0
        # Whoever waits already stays until the whole common part is there, not all but the last 63 tokens.
        gain = 1 if waited > 0 else self._minimum
        for leader, common in self._shared(prompt, held, namespace, gain):
            if common > longest:
                best, longest = leader, common
        if best is None:
            return Go()
        return WaitFor(best.id, longest, priority if priority > best.priority else None)

    def _shared(self, prompt: Tokens, held: int, namespace: str, gain: int) -> Iterator[tuple[_Leader, int]]:
        """Leaders that will have at least ``gain`` tokens more than are there now, and the common length."""
        # The last prompt token is always computed anew: its logits are what the answer begins with.
        most = len(prompt) - 1
        if most < held + gain:
            return
        for leader in self._by_head.get(self._head(prompt, namespace), {}).values():
            needed = max(held, leader.ready) + gain
            needed = max(needed, leader.begun + self._minimum)
            if needed > min(most, len(leader.prompt)) or prompt[needed - 1] != leader.prompt[needed - 1]:
                continue
            common = min(common_prefix(prompt, leader.prompt), most)
            if common >= needed:
                yield leader, common

    def _head(self, prompt: Tokens, namespace: str) -> tuple[str, bytes]:
        return namespace, prompt[: self._minimum].tobytes()
