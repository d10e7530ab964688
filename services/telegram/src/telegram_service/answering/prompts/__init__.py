"""What the model is told about itself, in files: one a language."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from telegram_service.dialogue.incoming import Language

MAX_CHARACTERS = 65_536


class PromptError(Exception):
    """A prompt cannot be read; the text says which."""


def load_prompts(folder: Path | None) -> Mapping[Language, str]:
    """The system prompts ``fr.txt`` and ``en.txt`` of a folder, or our own. Raises PromptError."""
    found = {}
    for language in Language:
        name = f"{language.value}.txt"
        source = resources.files(__name__) / name if folder is None else folder / name
        try:
            text = source.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PromptError(
                f"TELEGRAM_PROMPTS_PATH: {name} cannot be read ({type(error).__name__})."
            ) from error
        if not text or len(text) > MAX_CHARACTERS:
            raise PromptError(f"TELEGRAM_PROMPTS_PATH: {name} is empty or too long.")
        found[language] = text
    return found
