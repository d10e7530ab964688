"""Why a schema or a grammar cannot be used."""

from __future__ import annotations

LONGEST_NAME = 60


class BadGrammar(Exception):
    """Written for the caller: says what is wrong, and where."""

    def __init__(self, problem: str, place: str = "") -> None:
        """``place``: a JSON pointer (RFC 6901) into the schema, or a line of the grammar."""
        super().__init__(f"at {place}: {problem}" if place else problem)


def quoted(name: str) -> str:
    """A name out of the caller's text, cut where it is long."""
    return f"'{name}'" if len(name) <= LONGEST_NAME else f"'{name[: LONGEST_NAME - 1]}…'"
