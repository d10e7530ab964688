"""What lanes of the journal are called that are no threads. Pure."""

from __future__ import annotations

MAX_CHARACTERS = 200


def notices(thread: str) -> str:
    """Of what is said about a thread: beside it, so that it does not wait behind what it tells of."""
    return f"notice:{thread}"


def watch(folder: str) -> str:
    """Held by whoever watches a folder."""
    return f"watch:{folder}"[:MAX_CHARACTERS]
