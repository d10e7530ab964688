"""Whose turn it is where sequences cannot share a call: a pure decision.

llama.cpp computes a call with one LoRA adapter (or none) for all its rows, so sequences form groups by
adapter, and each step belongs to one group. The group that had no turn for longest is next. So between
two turns of a group, every other one has one at most: in a round of as many steps as there are groups,
each running sequence gets its token, whatever group it is in and however large that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ai_core.engine.backends.llama_cpp.scheduler import (
    NOBODY_ELSE,
    DecodeView,
    Elsewhere,
    PrefillView,
    decode_load,
)
from ai_core.engine.backends.step_cost import StepCost

CostOf = Callable[[str], StepCost]
"""What a group's calls cost."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The group that a step belongs to, and what there is to do for it."""

    group: str
    number: int
    """Turns that this group has had, this one included."""
    decodes: Sequence[DecodeView]
    prefills: Sequence[PrefillView]
    elsewhere: Elsewhere


class Rotation:
    """Remembers when each group had its last turn."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._turns = 0

    def next(
        self,
        decodes: Sequence[DecodeView],
        prefills: Sequence[PrefillView],
        cost_of: CostOf,
        free_cells: int,
    ) -> Turn | None:
        """The next turn; None where nothing can be computed.

        Prompts wait while there are no ``free_cells`` beside those for the decodes, and while another
        group has a more urgent one.
        """
        groups = {view.group for view in decodes} | {view.group for view in prefills}
        if len(groups) == 1:
            return self._take(groups.pop(), decodes, prefills, NOBODY_ELSE)
        prompts = _most_urgent(prefills) if free_cells > len(decodes) else []
        ready = {view.group for view in decodes} | {view.group for view in prompts}
        if not ready:
            return None
        group = min(ready, key=lambda name: (self._last.get(name, 0), name))
        own = [view for view in decodes if view.group == group]
        others = _others(group, decodes, prompts, cost_of)
        return self._take(group, own, [view for view in prompts if view.group == group], others)

    def forget(self, group: str) -> None:
        """There is no such group any more."""
        self._last.pop(group, None)
        self._numbers.pop(group, None)

    def _take(
        self,
        group: str,
        decodes: Sequence[DecodeView],
        prefills: Sequence[PrefillView],
        elsewhere: Elsewhere,
    ) -> Turn:
        self._turns += 1
        self._last[group] = self._turns
        number = self._numbers[group] = self._numbers.get(group, 0) + 1
        return Turn(group, number, decodes, prefills, elsewhere)


def _most_urgent(prefills: Sequence[PrefillView]) -> list[PrefillView]:
    highest = max((view.priority for view in prefills), default=0)
    return [view for view in prefills if view.priority == highest]


def _others(
    group: str, decodes: Sequence[DecodeView], prefills: Sequence[PrefillView], cost_of: CostOf
) -> Elsewhere:
    streams = [view for view in decodes if view.group != group]
    return Elsewhere(
        len(streams),
        sum(cost_of(name).predict(decode_load(views)) for name, views in _by_group(streams)),
        len({view.group for view in prefills} - {group}),
    )


def _by_group(decodes: Iterable[DecodeView]) -> Iterable[tuple[str, list[DecodeView]]]:
    groups: dict[str, list[DecodeView]] = {}
    for view in decodes:
        groups.setdefault(view.group, []).append(view)
    return groups.items()
