"""The table of which model fits on which server is what the AI core estimates now."""

from __future__ import annotations

from pathlib import Path

from sizing import table

README = Path(__file__).resolve().parent.parent.parent / "deploy" / "README.md"


def test_the_readme_shows_what_the_command_prints() -> None:
    assert table() in README.read_text(encoding="utf-8")
