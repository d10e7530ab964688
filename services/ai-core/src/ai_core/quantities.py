"""Sizes and times as people write them in settings, in the models file and in requests. Pure."""

from __future__ import annotations

import math
import re

_UNITS = {"": 1, "B": 1} | {
    prefix + suffix: int(base**power)
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("", 1024), ("B", 1000), ("IB", 1024))
}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})")
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
MAX_BYTES = 2**60
MAX_SECONDS = 10.0 * 366 * 86_400
FOR_EVER = -1.0


def bytes_in(value: str | float) -> int:
    """``"8GB"`` is 8,000,000,000, ``"512MiB"`` is 536,870,912 and ``"6G"`` 6 GiB; a number is bytes.

    Units as in Hugging Face's ``max_memory`` and, for a letter alone, as in Docker's ``--memory``.

    Raises:
        ValueError: with what to write instead.
    """
    number, unit = value, ""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if found is None or found[2].upper() not in _UNITS:
            raise ValueError("should be a size like 8GB, 512MiB or a number of bytes")
        number, unit = float(found[1]), found[2].upper()
    size = float(number) * _UNITS[unit]
    if not 0 <= size <= MAX_BYTES:
        raise ValueError("should be a size between 0 and 1 EiB")
    return round(size)


def seconds_in(value: str | float) -> float:
    """``"5m"`` is 300, ``"1h30m"`` is 5,400; a number is seconds. Anything negative is for ever: -1.

    The same forms as Ollama's ``keep_alive``.

    Raises:
        ValueError: with what to write instead.
    """
    if isinstance(value, str):
        text = value.strip()
        seconds = _number(text) if _is_number(text) else _duration(text)
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds > MAX_SECONDS:
        raise ValueError("should be at most ten years; -1 is for ever")
    return FOR_EVER if seconds < 0 else seconds


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,12}(\.\d{1,6})?", text) is not None


def _number(text: str) -> float:
    return float(text)


def _duration(text: str) -> float:
    sign, parts = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    if not re.fullmatch(f"(?:{_PART.pattern})+", parts):
        raise ValueError("should be a time like 5m, 1h30m, a number of seconds, or -1 for ever")
    return sign * sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(parts))
