"""Finding and getting the servers of the tests; apt-get itself is stood in for."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from workspace_setup import commands, servers, system
from workspace_setup.errors import SetupError


class Machine:
    """Lacks servers until somebody installs them."""

    def __init__(self) -> None:
        self.missing = ["Redis", "PostgreSQL"]
        self.commands: list[list[str]] = []
        self.environ: dict[str, str] = {}

    def apt_get(
        self, command: Sequence[str], log: Path, failure: str, environ: dict[str, str], *more: object
    ) -> None:
        self.commands.append(list(command))
        self.environ = environ
        if command[1] == "install":
            self.missing = []


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(servers, "missing", lambda: list(machine.missing))
    monkeypatch.setattr(commands, "run", machine.apt_get)
    monkeypatch.setattr(system, "_os_release", lambda: "ID=debian\n")
    return machine


def test_root_on_debian_gets_them_installed_and_none_of_them_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system, "may_install", lambda: True)
    servers.install(Path("log"))
    assert [command[:2] for command in machine.commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert machine.commands[1][-2:] == ["redis-server", "postgresql"]
    assert "--no-install-recommends" in machine.commands[1]
    assert machine.environ["RUNLEVEL"] == "1"
    assert "redis-server, postgresql" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("os_release", "hint"),
    [
        ("ID=debian\n", "install redis-server postgresql, then"),
        ("ID=fedora\n", "install redis postgresql-server postgresql, then"),
        ("", "install them (Debian's names: redis-server postgresql), then"),
    ],
)
def test_others_are_told_in_one_sentence_what_to_install(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, os_release: str, hint: str
) -> None:
    monkeypatch.setattr(system, "may_install", lambda: False)
    monkeypatch.setattr(system, "_os_release", lambda: os_release)
    with pytest.raises(SetupError) as caught:
        servers.install(Path("log"))
    assert str(caught.value) == (
        "The tests run against real servers. Redis and PostgreSQL are missing on this machine: "
        f"{hint} run this again."
    )
    assert machine.commands == []


def test_packages_that_do_not_bring_the_server_are_no_success(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "may_install", lambda: True)
    monkeypatch.setattr(servers, "missing", lambda: ["Redis"])
    with pytest.raises(SetupError, match="Redis is missing"):
        servers.install(Path("log"))


def test_nothing_is_run_where_nothing_is_missing(machine: Machine) -> None:
    machine.missing = []
    servers.install(Path("log"))
    assert machine.commands == []


def test_the_newest_postgresql_is_found_outside_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert servers.postgresql_programs(tmp_path) is None
    for version in ("9", "15", "13"):
        folder = tmp_path / "usr/lib/postgresql" / version / "bin"
        folder.mkdir(parents=True)
        (folder / "initdb").touch()
    # What is left of a version of which only the client was kept.
    (tmp_path / "usr/lib/postgresql/16/bin").mkdir(parents=True)
    assert servers.postgresql_programs(tmp_path) == tmp_path / "usr/lib/postgresql/15/bin"


def test_a_missing_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.SERVERS, "Redis", lambda: None)
    monkeypatch.setitem(servers.SERVERS, "PostgreSQL", lambda: Path("/usr/bin"))
    assert servers.missing() == ["Redis"]


def test_dovecot_without_its_lmtp_server_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/sbin/{name}" if path else None)
    folder = tmp_path / "usr/lib/dovecot"
    folder.mkdir(parents=True)
    (folder / "imap-login").touch()
    assert servers.dovecot(tmp_path) is None
    (folder / "lmtp").touch()
    assert servers.dovecot(tmp_path) == Path("/usr/sbin/dovecot")


def test_postfix_is_found_where_the_distribution_keeps_it(tmp_path: Path) -> None:
    assert servers.postfix_master(tmp_path) is None
    master = tmp_path / "usr/libexec/postfix/master"
    master.parent.mkdir(parents=True)
    master.touch()
    assert servers.postfix_master(tmp_path) == master


def test_tesseract_that_reads_no_french_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tesseract"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert servers.tesseract() is None
    program.write_text("#!/bin/sh\necho 'List of available languages (2):'\necho eng\necho osd\n")
    program.chmod(0o755)
    assert servers.tesseract() is None
    program.write_text("#!/bin/sh\necho eng\necho fra\n")
    assert servers.tesseract() == program


def test_docker_comes_with_a_compose_of_either_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "SYSTEM_PROGRAMS", str(tmp_path))
    assert servers.missing_for_containers() == [system.DOCKER]
    for name in ("dockerd", "docker", "iptables", "mmdebstrap"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    assert servers.docker() is None
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 0\n")
    assert servers.docker() == tmp_path / "dockerd"
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker-compose").write_text("#!/bin/sh\n")
    (tmp_path / "docker-compose").chmod(0o755)
    assert servers.missing_for_containers() == []
