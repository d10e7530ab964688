"""Who answers the nodes that we put into graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ai_core.engine.backends.logits import Logits
from ai_core.engine.backends.openvino.marking import InputIds
from ai_core.engine.backends.openvino.rows import Positions

Floats = npt.NDArray[np.float32]


class Conductor(Protocol):
    """Called by the graph in the middle of a step, in the thread that called it. ``ids`` (marked) and
    ``positions`` are those of all tokens in the batch."""

    def choose(self, logits: Logits, ids: InputIds, positions: Positions) -> Mapping[int, int]:
        """The tokens of those rows of logits (by number) in which not the likeliest one is wanted."""

    def adapt(self, linear: int, values: Floats, ids: InputIds, positions: Positions) -> Floats | None:
        """What is added to a product, one row for each token of the batch; None: nothing to any."""


_conductors: list[Conductor] = []


@contextmanager
def conducted(by: Conductor) -> Iterator[None]:
    """Within this, every graph that runs asks this conductor."""
    _conductors.append(by)
    try:
        yield
    finally:
        _conductors.pop()


def conductor() -> Conductor | None:
    """Who is asked now; None: nobody, and the graph is left as it is."""
    return _conductors[-1] if _conductors else None
