"""Which models give way when room is needed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_QUICKEST_LOAD = 0.05
"""Seconds; a load that was not measured yet must not make a model worthless."""
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could give way."""

    name: str
    frees: int
    """Bytes."""
    idle: float
    """Seconds since its last request ended."""
    load_seconds: float
    weight: float = 1.0

    @property
    def score(self) -> float:
        """How well it can be done without: ``idle time / (load time × weight)``. The highest goes first."""
        return self.idle / (max(self.load_seconds, _QUICKEST_LOAD) * max(self.weight, _LEAST_WEIGHT))


def _worth(candidate: Candidate) -> tuple[float, float, str]:
    return (-candidate.score, candidate.load_seconds * candidate.weight, candidate.name)


def choose(candidates: Iterable[Candidate], shortage: int) -> tuple[Candidate, ...] | None:
    """Who gives way so that ``shortage`` bytes become free: the least valuable first, and nobody for
    nothing: without any one of them, the rest would not suffice.

    Returns:
        None: all of them together are not enough.
    """
    chosen: list[Candidate] = []
    freed = 0
    for candidate in sorted(candidates, key=_worth):
        if freed >= shortage:
            break
        if candidate.frees > 0:
            chosen.append(candidate)
            freed += candidate.frees
    if freed < shortage:
        return None
    for candidate in reversed(chosen.copy()):
        if freed - candidate.frees >= shortage:
            chosen.remove(candidate)
            freed -= candidate.frees
    return tuple(chosen)
