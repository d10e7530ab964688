"""What runbooks tell people to type exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import ai_core.__main__
import mail_service.cli
import telegram_service.__main__

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "ai-core": ai_core.__main__.command,
    "telegram-service": telegram_service.__main__.command,
    "mail-service": mail_service.cli.command,
}
SPAN = re.compile(rf"`({'|'.join(COMMANDS)}) ([^`]+)`")
PAGES = [*(DEPLOY / "runbooks").glob("*.md"), DEPLOY / "README.md"]
TYPED = sorted({found for page in PAGES for found in SPAN.findall(page.read_text())})


@pytest.mark.parametrize(("program", "words"), TYPED)
def test_what_is_to_be_typed_is_understood(program: str, words: str) -> None:
    # What stands in capitals is for the reader to replace; all before it are words of ours.
    ours = [word for word in words.split() if re.fullmatch(r"[a-z-]+", word)]
    with pytest.raises(SystemExit) as ended:
        COMMANDS[program]([*ours, "--help"])
    assert ended.value.code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_compose_is_called_in_the_way_that_every_machine_knows(page: Path) -> None:
    """Debian 12 has `docker-compose` only, and COMPOSE_FILE in .env is for deploy/compose.sh to read."""
    assert re.findall(r"(?:^|[`|;&] ?)(docker[ -]compose [^`\n]+)", page.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_services_that_are_named_to_compose_are_there(page: Path) -> None:
    services = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    found = re.findall(
        r"deploy/compose\.sh (?:logs|restart|exec|ps)(?: --?[a-zA-Z]+(?: \d+\w)?)* ([\w-]+)", page.read_text()
    )
    assert {name for name in found if name != "SERVICE"} <= services.keys()
