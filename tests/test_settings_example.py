""".env.example and the typed settings are the same list with the same defaults."""

import itertools
import re
from pathlib import Path

from ai_core.config import Settings

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
ASSIGNMENT = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$")


def test_the_example_names_exactly_the_settings() -> None:
    named = [found.group(1) for line in EXAMPLE.read_text().splitlines() if (found := ASSIGNMENT.match(line))]
    assert sorted(named) == sorted(field.upper() for field in Settings.model_fields)


def test_the_example_gives_the_defaults() -> None:
    assert Settings.load({}, EXAMPLE) == Settings.load({}, None)


def test_each_setting_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if ASSIGNMENT.match(line) and not before.startswith("# ")
    ]
    assert bare == []
