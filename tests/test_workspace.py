"""What holds for the workspace as a whole, and no single member could test."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return dict(LOCKED.findall((ROOT / "requirements" / f"{name}.txt").read_text()))


def test_no_folder_of_tests_is_a_package() -> None:
    # With --import-mode=importlib, pytest would run the first such package's tests under every path.
    tops = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in {".git", ".venv", "var"}]
    packages = [path for top in tops for path in top.rglob("__init__.py")]
    assert packages
    assert [path for path in packages if "tests" in path.relative_to(ROOT).parts] == []


@pytest.mark.parametrize("name", ["run", "test"])
def test_each_locked_package_has_hashes_and_no_lock_names_an_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if entry.strip())
    assert not re.search(r"://|^--?[a-z]|--(extra-)?index-url|--find-links", text, re.MULTILINE)


def test_the_two_locks_agree() -> None:
    run, test = (
        dict(LOCKED.findall((ROOT / f"requirements/{name}.txt").read_text())) for name in ("run", "test")
    )
    assert {name: version for name, version in test.items() if run.get(name, version) != version} == {}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_what_a_member_needs_is_locked(member: Path) -> None:
    project = tomllib.loads((member / "pyproject.toml").read_text())
    needed = {*project["project"]["dependencies"], *project["build-system"]["requires"]}
    own = {path.name for path in MEMBERS}
    assert needed - own <= set(locked("run"))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_the_set_up_installs_each_member(member: Path) -> None:
    from workspace_setup.stages import OWN_PACKAGES

    assert str(member.relative_to(ROOT)) in OWN_PACKAGES
