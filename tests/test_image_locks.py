"""What the images are made of: versions that all tests ran with, and the packages that a service names."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("ai-core", "telegram", "mail")
PINNED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)", re.MULTILINE)


def _pins(path: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / path).read_text()))


def _wanted(member: str) -> set[str]:
    dependencies = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[<>=~! ;]", name)[0].lower().replace("_", "-") for name in dependencies}
    return names - {"servicekit"}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_the_versions_that_the_tests_ran_with(service: str) -> None:
    everywhere = _pins("requirements/run.txt")
    image = _pins(f"services/{service}/requirements.txt")
    assert image
    assert image.items() <= everywhere.items()


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_what_its_service_names(service: str) -> None:
    wanted = _wanted(f"services/{service}") | _wanted("libs/servicekit")
    assert wanted <= _pins(f"services/{service}/requirements.txt").keys()


def test_only_the_mail_service_carries_what_is_under_the_gpl() -> None:
    assert "aioimaplib" in _pins("services/mail/requirements.txt")
    for service in ("ai-core", "telegram"):
        assert "aioimaplib" not in _pins(f"services/{service}/requirements.txt")
