""".env.example and the typed settings of all services are the same list with the same defaults."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
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


OF_SERVICES = frozenset().union(*(service.names() for service in SERVICES.values()))


def deployed() -> dict[str, set[str]]:
    """What compose's files and deploy's scripts read from .env that is no service's, with its defaults."""
    root, found = EXAMPLE.parent, defaultdict(set)
    files = [
        *root.glob("docker-compose*.yml"),
        *root.glob("deploy/*.yml"),
        *root.glob("services/*/compose.yml"),
    ]
    uses = [
        use for path in files for use in re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?[^}]*\}", path.read_text())
    ]
    for path in root.glob("deploy/*.sh"):
        uses += re.findall(r"\$\(value ([A-Z_]+) '?([^')]*)'?\)", path.read_text())
        uses += [(name, "") for name in re.findall(r"^given ([A-Z_]+) ", path.read_text(), re.MULTILINE)]
    for name, default in uses:
        found[name].add(default)
    return {name: defaults for name, defaults in found.items() if name not in OF_SERVICES}


def assigned() -> dict[str, str]:
    """The lines of the example."""
    return dict(
        ASSIGNMENT.findall(line)[0] for line in EXAMPLE.read_text().splitlines() if ASSIGNMENT.match(line)
    )


def test_the_example_names_exactly_the_settings_each_once() -> None:
    named = [found.group(1) for line in EXAMPLE.read_text().splitlines() if (found := ASSIGNMENT.match(line))]
    assert sorted(named) == sorted({*OF_SERVICES, *deployed()})


@pytest.mark.parametrize("name", sorted(deployed()))
def test_the_example_gives_the_defaults_of_the_deployment(name: str) -> None:
    (default,) = deployed()[name]
    if not name.endswith("_IMAGE"):
        assert assigned()[name] == default
        return
    # A version that is written into an .env would stay there when an upgrade brings another.
    assert assigned()[name] == ""
    assert re.search(rf"^# (.* )?{re.escape(default)}\n{name}=$", EXAMPLE.read_text(), re.MULTILINE)


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
