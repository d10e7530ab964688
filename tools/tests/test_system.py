import shutil
import sys

import pytest

from workspace_setup import system
from workspace_setup.errors import SetupError
from workspace_setup.system import CXX, MAKE, PYTHON, VENV, C, Interpreter, choose, family, package_names


def python(major: int, minor: int, venv: bool = True) -> Interpreter:
    return Interpreter(f"python{major}.{minor}", (major, minor, 0), venv)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([], None),
        ([python(3, 8), python(3, 10)], None),
        ([python(3, 8), python(3, 12), python(3, 11)], python(3, 12)),
        ([python(3, 14), python(3, 11)], python(3, 11)),
        ([python(3, 14)], python(3, 14)),
        ([python(3, 11, venv=False), python(3, 12)], python(3, 12)),
        ([python(3, 11, venv=False)], python(3, 11, venv=False)),
    ],
)
def test_which_python_is_taken(found: list[Interpreter], chosen: Interpreter | None) -> None:
    assert choose(found) == chosen


@pytest.mark.parametrize(
    ("os_release", "expected"),
    [
        ("ID=debian\n", "debian"),
        ('NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n', "debian"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
        ("ID=alpine\n", "alpine"),
        ("ID=plan9\n", None),
        ("", None),
    ],
)
def test_families_of_distributions(os_release: str, expected: str | None) -> None:
    assert family(os_release) == expected


def test_packages_are_named_once() -> None:
    assert package_names([C, CXX], "arch") == ["gcc"]
    assert package_names([PYTHON, VENV], "fedora") == ["python3"]


def test_the_sentence_says_what_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "may_install", lambda: False)
    monkeypatch.setattr(system, "_os_release", lambda: "ID=debian\n")
    monkeypatch.setattr(system, "inspect", lambda environ, compiling: (None, [PYTHON, VENV, CXX]))
    with pytest.raises(SetupError) as caught:
        # Nothing is installed, so nothing is logged.
        system.ensure_system(log=None, compiling=True)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Python 3.11 or later, Python's venv module and a C++ compiler are missing on this machine: "
        "install python3 python3-venv g++, then run this again."
    )


def test_a_command_that_is_no_python() -> None:
    assert system.probe("/bin/false") is None
    assert system.probe("no-such-command") is None


def test_compilers_are_asked_for_only_where_something_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    environ = {"PYTHON": sys.executable}
    assert system.inspect(environ, compiling=True)[1] == [C, CXX, MAKE]
    interpreter, missing = system.inspect(environ, compiling=False)
    assert interpreter is not None
    assert missing == []
