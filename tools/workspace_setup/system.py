"""What the machine must have before anything can be installed: Python, its venv module, compilers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from workspace_setup import commands
from workspace_setup.errors import SetupError

OLDEST = (3, 11)
NEWEST_TRIED = (3, 13)
VERSIONED = ("python3.13", "python3.12", "python3.11")
C_COMPILERS = ("cc", "gcc", "clang")
CXX_COMPILERS = ("c++", "g++", "clang++")

# What is missing, and the packages that bring it, by family of distributions.
(
    PYTHON,
    VENV,
    C,
    CXX,
    MAKE,
    REDIS,
    POSTGRESQL,
    DOVECOT,
    POSTFIX,
    OCR,
    ANTIWORD,
    NGINX,
    PROMETHEUS,
    EXPORTERS,
    AGE,
    CLAMAV,
    RSPAMD,
    SPAMD,
    CHROMIUM,
    COMPOSE,
    DOCKER,
    SHELLCHECK,
) = (
    "Python 3.11 or later",
    "Python's venv module",
    "a C compiler",
    "a C++ compiler",
    "make",
    "Redis",
    "PostgreSQL",
    "Dovecot",
    "Postfix",
    "Tesseract with French and English",
    "antiword",
    "nginx",
    "Prometheus",
    "Prometheus' exporters",
    "age",
    "clamd",
    "rspamd",
    "spamd of SpamAssassin",
    "Chromium",
    "Docker's compose",
    "Docker with its compose, and mmdebstrap",
    "ShellCheck",
)
# In the order of _DISTRIBUTIONS.
_DISTRIBUTIONS = ("debian", "fedora", "suse", "arch", "alpine")
_NAMES = {
    PYTHON: ("python3", "python3", "python311", "python", "python3"),
    VENV: ("python3-venv", "python3", "python311", "python", "python3"),
    C: ("gcc", "gcc", "gcc", "gcc", "gcc musl-dev"),
    CXX: ("g++", "gcc-c++", "gcc-c++", "gcc", "g++"),
    MAKE: ("make",) * 5,
    REDIS: ("redis-server", "redis", "redis", "valkey", "redis"),
    POSTGRESQL: (
        "postgresql",
        *("postgresql-server postgresql",) * 2,
        "postgresql",
        "postgresql postgresql-client",
    ),
    DOVECOT: ("dovecot-imapd dovecot-lmtpd", *("dovecot",) * 3, "dovecot dovecot-lmtpd"),
    POSTFIX: ("postfix",) * 5,
    OCR: (
        "tesseract-ocr tesseract-ocr-fra tesseract-ocr-eng",
        "tesseract tesseract-langpack-fra tesseract-langpack-eng",
        "tesseract-ocr tesseract-ocr-traineddata-french tesseract-ocr-traineddata-english",
        "tesseract tesseract-data-fra tesseract-data-eng",
        "tesseract-ocr tesseract-ocr-data-fra tesseract-ocr-data-eng",
    ),
    ANTIWORD: ("antiword",) * 5,
    NGINX: ("nginx-light", *("nginx",) * 4),
    PROMETHEUS: (
        "prometheus prometheus-alertmanager",
        "golang-github-prometheus golang-github-prometheus-alertmanager",
        "golang-github-prometheus-prometheus golang-github-prometheus-alertmanager",
        *("prometheus alertmanager",) * 2,
    ),
    # Of Redis, PostgreSQL, the machine and the door; not all distributions have all of them.
    EXPORTERS: (
        " ".join(f"prometheus-{name}-exporter" for name in ("node", "redis", "postgres", "blackbox")),
        *(" ".join(f"golang-github-prometheus-{name}-exporter" for name in ("node", "blackbox")),) * 2,
        *(" ".join(f"prometheus-{name}-exporter" for name in ("node", "redis", "postgres", "blackbox")),) * 2,
    ),
    AGE: ("age",) * 5,
    CLAMAV: ("clamav-daemon", "clamd", "clamav", "clamav", "clamav-daemon"),
    RSPAMD: ("rspamd",) * 5,
    SPAMD: ("spamassassin spamd", *("spamassassin",) * 4),
    CHROMIUM: ("chromium",) * 5,
    COMPOSE: (*("docker-compose",) * 4, "docker-cli-compose"),
    DOCKER: (
        "docker.io docker-compose iptables mmdebstrap",
        "moby-engine docker-compose mmdebstrap",
        *("docker docker-compose mmdebstrap",) * 2,
        "docker docker-cli-compose mmdebstrap",
    ),
    SHELLCHECK: ("shellcheck", "ShellCheck", "ShellCheck", "shellcheck", "shellcheck"),
}
PACKAGES: Mapping[str, Mapping[str, str]] = {
    distribution: {what: names[place] for what, names in _NAMES.items()}
    for place, distribution in enumerate(_DISTRIBUTIONS)
}
FAMILIES = {
    "ubuntu": "debian",
    "rhel": "fedora",
    "centos": "fedora",
    "opensuse": "suse",
    "sles": "suse",
}
_COMPILERS = ((C, "CC", C_COMPILERS), (CXX, "CXX", CXX_COMPILERS), (MAKE, "", ("make",)))

_PROBE = """
import sys
try:
    import ensurepip, venv
except ImportError:
    ensurepip = None
print(*sys.version_info[:3], int(ensurepip is not None))
"""


@dataclass(frozen=True)
class Interpreter:
    command: str
    version: tuple[int, int, int]
    has_venv: bool

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


def ensure_system(log: Path, compiling: bool) -> Interpreter:
    """Find everything, installing what is missing where that is ours to do. Raises SetupError.

    Args:
        compiling: whether compilers are wanted, too.
    """
    interpreter, missing = inspect(os.environ, compiling)
    if missing and may_install():
        install(missing, log)
        interpreter, missing = inspect(os.environ, compiling)
    if missing or interpreter is None:
        raise SetupError(sentence(missing))
    return interpreter


def inspect(environ: Mapping[str, str], compiling: bool) -> tuple[Interpreter | None, list[str]]:
    """The Python to use, if there is one, and what the machine lacks."""
    interpreter = choose(_found_interpreters(environ.get("PYTHON")))
    missing = []
    if interpreter is None:
        missing += [PYTHON, VENV]
    elif not interpreter.has_venv:
        missing.append(VENV)
    for what, variable, names in _COMPILERS if compiling else ():
        own = environ.get(variable, "").split()[:1]
        if not any(shutil.which(name) for name in (own or names)):
            missing.append(what)
    return interpreter, missing


def choose(found: Iterable[Interpreter]) -> Interpreter | None:
    """The first that we test with; else the first that is newer; one with venv before one without."""
    usable = [each for each in found if each.version[:2] >= OLDEST]
    return min(usable, key=lambda each: (not each.has_venv, each.version[:2] > NEWEST_TRIED), default=None)


def probe(command: str) -> Interpreter | None:
    """What this command is, or None if it is no Python that works."""
    try:
        answer = subprocess.run(
            [command, "-c", _PROBE], capture_output=True, encoding="utf-8", timeout=30, check=True
        ).stdout.split()
        major, minor, micro, has_venv = map(int, answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(command, (major, minor, micro), bool(has_venv))


def family(os_release: str) -> str | None:
    """The key into PACKAGES for the text of /etc/os-release."""
    values = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    for field in ("ID", "ID_LIKE"):
        for name in values.get(field, "").strip("\"'").split():
            key = FAMILIES.get(name.split("-")[0], name.split("-")[0])
            if key in PACKAGES:
                return key
    return None


def package_names(missing: Sequence[str], distribution: str) -> list[str]:
    return list(dict.fromkeys(name for what in missing for name in PACKAGES[distribution][what].split()))


def _found_interpreters(wanted: str | None) -> list[Interpreter]:
    # PYTHON=... is an order: nothing else is looked at.
    names = [wanted] if wanted else [sys.executable, "python3", *VERSIONED, "python"]
    return [found for found in map(probe, dict.fromkeys(names)) if found is not None]


def may_install() -> bool:
    """Whether packages can be had without asking anybody."""
    return os.geteuid() == 0 and family(_os_release()) == "debian" and shutil.which("apt-get") is not None


def install(missing: Sequence[str], log: Path, **environment: str) -> None:
    """Install with apt-get; ``environment`` is for the packages' scripts. Raises SetupError."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **environment}
    print(f"Installing with apt-get: {', '.join(package_names(missing, 'debian'))}")
    failure = f"apt-get failed; the whole log is {log}."
    commands.run(["apt-get", "update"], log, failure, environ)
    names = package_names(missing, "debian")
    if PYTHON in missing:
        # Where `python3` is too old, the distribution may have a newer one under its full name.
        newer = next((name for name in VERSIONED if _apt_has(name)), "python3")
        names = [name for name in names if not name.startswith("python3")] + [newer, f"{newer}-venv"]
    elif VENV in missing:
        names += [f"{name}-venv" for name in VERSIONED if shutil.which(name) and _apt_has(f"{name}-venv")]
    commands.run(["apt-get", "install", "-y", "--no-install-recommends", *names], log, failure, environ)


def _apt_has(name: str) -> bool:
    return subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).returncode == 0


def sentence(missing: Sequence[str]) -> str:
    """What is missing and how to get it here, for a person."""
    distribution = family(_os_release())
    what = " and ".join(filter(None, [", ".join(missing[:-1]), *missing[-1:]]))
    verb = "is" if len(missing) == 1 else "are"
    names = " ".join(package_names(missing, distribution or "debian"))
    hint = f"install {names}" if distribution else f"install them (Debian's names: {names})"
    return f"{what[:1].upper()}{what[1:]} {verb} missing on this machine: {hint}, then run this again."


def _os_release() -> str:
    try:
        return Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
