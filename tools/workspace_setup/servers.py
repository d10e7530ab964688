"""The servers and other programs that tests start for themselves: where they are, and how they get here.

They are looked for at each set-up, which takes no time: unlike what is in .venv, they may be removed
without our noticing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Callable

from workspace_setup import system
from workspace_setup.errors import SetupError
from workspace_setup.system import (
    AGE,
    ANTIWORD,
    CHROMIUM,
    CLAMAV,
    COMPOSE,
    DOCKER,
    DOVECOT,
    EXPORTERS,
    NGINX,
    OCR,
    POSTFIX,
    POSTGRESQL,
    PROMETHEUS,
    REDIS,
    RSPAMD,
    SHELLCHECK,
    SPAMD,
)

# Debian, Fedora and Homebrew keep the servers of PostgreSQL's versions side by side, out of the PATH.
POSTGRESQL_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")


def redis_server() -> Path | None:
    """The program, if it is installed."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


def postgresql_programs(root: Path = Path("/")) -> Path | None:
    """The folder with ``initdb``, ``postgres`` and ``psql`` of the newest version, if there is one."""
    folders = [folder for pattern in POSTGRESQL_FOLDERS for folder in root.glob(pattern)]
    folders.sort(key=lambda folder: [int(number) for number in re.findall(r"\d+", str(folder))], reverse=True)
    in_path = shutil.which("initdb")
    if in_path:
        folders.append(Path(in_path).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


# Root's PATH has /usr/sbin; that of others often has not, and its programs are there all the same.
SYSTEM_PROGRAMS = "/usr/sbin:/usr/local/sbin"
POSTFIX_FOLDERS = ("usr/lib/postfix/sbin", "usr/libexec/postfix", "usr/lib/postfix/bin", "usr/lib/postfix")


def dovecot(root: Path = Path("/")) -> Path | None:
    """The program, if it is there together with its LMTP server and IMAP."""
    found = shutil.which("dovecot") or shutil.which("dovecot", path=SYSTEM_PROGRAMS)
    parts = ("imap-login", "lmtp")
    folders = (root / "usr/lib/dovecot", root / "usr/libexec/dovecot")
    complete = any(all((folder / part).exists() for part in parts) for folder in folders)
    return Path(found) if found and complete else None


def postfix_master(root: Path = Path("/")) -> Path | None:
    """The program that starts all others, if it is installed."""
    programs = (root / folder / "master" for folder in POSTFIX_FOLDERS)
    return next((program for program in programs if program.exists()), None)


def tesseract() -> Path | None:
    """The program, if it reads French and English."""
    found = shutil.which("tesseract")
    if found is None:
        return None
    answer = subprocess.run([found, "--list-langs"], capture_output=True, encoding="utf-8", check=False)
    return Path(found) if {"fra", "eng"} <= set(answer.stdout.split()) else None


def program(*names: str) -> Callable[[], Path | None]:
    """What finds the first of some programs, if all are installed."""

    def find() -> Path | None:
        found = [shutil.which(name) or shutil.which(name, path=SYSTEM_PROGRAMS) for name in names]
        return Path(found[0]) if all(found) and found[0] else None

    return find


def compose() -> Path | None:
    """Docker's compose of either generation: a program of its own, or a part of Docker's client."""
    found = shutil.which("docker-compose")
    client = shutil.which("docker")
    if found or client is None:
        return Path(found) if found else None
    answer = subprocess.run([client, "compose", "version"], capture_output=True, check=False)
    return Path(client) if answer.returncode == 0 else None


SERVERS: dict[str, Callable[[], Path | None]] = {
    REDIS: redis_server,
    POSTGRESQL: postgresql_programs,
    DOVECOT: dovecot,
    POSTFIX: postfix_master,
    OCR: tesseract,
    ANTIWORD: program("antiword"),
    NGINX: program("nginx"),
    PROMETHEUS: program("prometheus", "promtool", "amtool"),
    EXPORTERS: program(
        *(f"prometheus-{name}-exporter" for name in ("node", "redis", "postgres", "blackbox"))
    ),
    AGE: program("age"),
    CLAMAV: program("clamd"),
    RSPAMD: program("rspamd"),
    SPAMD: program("spamd"),
    CHROMIUM: program("chromium"),
    COMPOSE: compose,
    SHELLCHECK: program("shellcheck"),
}


def docker() -> Path | None:
    """The engine, if it is there with a client, a compose of either generation and mmdebstrap."""
    found = program("dockerd", "docker", "iptables", "mmdebstrap")()
    return found if compose() else None


def missing() -> list[str]:
    """The servers that this machine lacks."""
    return [name for name, find in SERVERS.items() if find() is None]


def missing_for_containers() -> list[str]:
    """The same for what runs containers."""
    return [] if docker() else [DOCKER]


def install(log: Path, find: Callable[[], list[str]] | None = None) -> None:
    """Install what is missing where that is ours to do. Raises SetupError, which names the rest.

    Args:
        find: says what is missing; without it, the servers of all tests are meant.
    """
    find = find or missing
    absent = find()
    if absent and system.may_install():
        # RUNLEVEL: the packages would start servers of their own, on the ports that everybody uses.
        system.install(absent, log, RUNLEVEL="1")
        absent = find()
    if absent:
        raise SetupError(f"The tests run against real servers. {system.sentence(absent)}")
