"""What the model is told about itself, in files: one a language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mail_service.language import Language
from servicekit import prompts


def load_prompts(folder: Path | None) -> Mapping[Language, str]:
    """The system prompts ``fr.txt`` and ``en.txt`` of a folder, or our own. Raises PromptError."""
    return prompts.load_prompts(Language, folder, package=__name__, setting="PROMPTS_PATH")
