""".env.example and the typed settings of all services are the same list with the same defaults."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_core.config import Settings as AiCore
from mail_service.config import Settings as Mail
from servicekit.settings import ServiceSettings
from telegram_service.config import Settings as Telegram

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
ASSIGNMENT = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$")


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and what it does not start without."""

    settings: type[ServiceSettings]
    needs: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> set[str]:
        """Under which its settings stand in a file that all services read."""
        return {self.settings.names(name, shared=True)[-1] for name in self.settings.model_fields}


SERVICES = {
    "ai-core": Service(AiCore),
    "telegram": Service(Telegram, {"TELEGRAM_BOT_TOKEN": "1:token"}),
    "mail": Service(Mail),
}


def test_the_example_names_exactly_the_settings_each_once() -> None:
    named = [found.group(1) for line in EXAMPLE.read_text().splitlines() if (found := ASSIGNMENT.match(line))]
    assert sorted(named) == sorted(set().union(*(service.names() for service in SERVICES.values())))


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_the_example_gives_the_defaults(service: Service) -> None:
    assert service.settings.load(service.needs, EXAMPLE) == service.settings.load(service.needs, None)


def test_each_setting_is_explained() -> None:
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if ASSIGNMENT.match(line) and not before.startswith("# ")
    ]
    assert bare == []


def test_the_table_of_the_telegram_services_readme_is_complete() -> None:
    readme = EXAMPLE.parent / "services/telegram/README.md"
    section = readme.read_text().partition("## Settings\n")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^`|]*?)`? \|", section, re.MULTILINE))
    defaults = dict(
        ASSIGNMENT.findall(line)[0] for line in EXAMPLE.read_text().splitlines() if ASSIGNMENT.match(line)
    )
    assert table == {name: defaults[name] for name in SERVICES["telegram"].names()}
