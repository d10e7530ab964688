"""What a model is told about itself, in files: one a language."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import TypeVar

MAX_CHARACTERS = 65_536

L = TypeVar("L", bound=Enum)


class PromptError(Exception):
    """A prompt cannot be read; the text says which."""


def load_prompts(languages: type[L], folder: Path | None, *, package: str, setting: str) -> Mapping[L, str]:
    """A system prompt for each language, out of a file named by its value, as ``fr.txt``.

    Args:
        folder: where an operator keeps prompts of their own; None: those that the package has.
        setting: its name, for messages.

    Raises:
        PromptError: one is missing, empty, no UTF-8 or longer than `MAX_CHARACTERS`.
    """
    found = {}
    for language in languages:
        name = f"{language.value}.txt"
        source = resources.files(package) / name if folder is None else folder / name
        try:
            text = source.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(f"{setting}: {name} cannot be read ({type(error).__name__}).") from error
        if not text or len(text) > MAX_CHARACTERS:
            raise PromptError(f"{setting}: {name} is empty or too long.")
        found[language] = text
    return found
