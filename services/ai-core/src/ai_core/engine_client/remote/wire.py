"""Reading JSON that others wrote. Pure."""

from __future__ import annotations

import json
from typing import Any


class Nonsense(ValueError):
    """It does not keep to the form of OpenAI's API; the text says in what."""


def parsed(text: str | bytes, what: str) -> dict[str, Any]:
    """An object. Raises Nonsense."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"{what} is no JSON") from error
    if not isinstance(value, dict):
        raise Nonsense(f"{what} is no object")
    return value


def text_in(value: dict[str, Any], name: str) -> str:
    """A text, which may be missing. Raises Nonsense."""
    text = value.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise Nonsense(f"'{name}' is no text")
    return text


def list_in(value: dict[str, Any], name: str) -> list[Any]:
    """A list, which may be missing. Raises Nonsense."""
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Nonsense(f"'{name}' is no list")
    return found


def count_in(value: Any, name: str) -> int:
    """A number of things; 0 where there is none, or something else."""
    number = value.get(name) if isinstance(value, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else 0
