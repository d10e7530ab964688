"""Whether an answer was computed for its caller, in a header: OpenAI's answers have no field for it."""

from __future__ import annotations

from collections.abc import Sequence

from ai_core.inference.generation import Progress
from ai_core.inference.requests import Origin

NAME = b"x-neo-cache"


def cache_header(choices: Sequence[Progress]) -> tuple[bytes, bytes]:
    """``hit``: all choices were kept from before; ``shared``: none was computed for this request alone;
    ``miss``: some were."""
    origins = {choice.origin for choice in choices}
    if origins == {Origin.CACHED}:
        return NAME, b"hit"
    return NAME, b"miss" if Origin.COMPUTED in origins else b"shared"
