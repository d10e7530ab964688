"""What lanes of the journal are called that are no threads. Pure."""

from __future__ import annotations

MAX_CHARACTERS = 200
NOTICES = "notice:"
"""How the lanes of :func:`notices` begin."""


def notices(thread: str) -> str:
    """Of what is said about a thread: beside it, so that it does not wait behind what it tells of."""
    return f"{NOTICES}{thread}"


def holds_notices(lane: str) -> bool:
    """Whether it is a lane of :func:`notices`: nothing in it is an answer to a mail."""
    return lane.startswith(NOTICES)


def watch(folder: str) -> str:
    """Held by whoever watches a folder."""
    return f"watch:{folder}"[:MAX_CHARACTERS]
