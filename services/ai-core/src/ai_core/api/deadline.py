"""How long a caller is ready to wait for the first token: the header ``X-Request-Timeout``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ai_core.errors import InvalidRequest

NAME = "X-Request-Timeout"
MAX_SECONDS = 3_600
_HEADER = NAME.lower().encode("ascii")
_NUMBER = re.compile(rb"\d{1,4}(\.\d{1,3})?")


def timeout_in(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds; None where the caller says nothing. Raises InvalidRequest."""
    values = [value.strip() for name, value in headers if name == _HEADER]
    if not values:
        return None
    seconds = float(values[0]) if len(values) == 1 and _NUMBER.fullmatch(values[0]) else 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise InvalidRequest(
            f"The header '{NAME}' is a number of seconds above 0 and up to {MAX_SECONDS}, like 30 or 2.5.",
            code="invalid_value",
            parameter=NAME,
        )
    return seconds
