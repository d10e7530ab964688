"""deploy/install.sh on real Debian and Ubuntu machines, as far as a folder can be one: its packages, its
Docker, its firewall in a network of its own. `make test-install` runs it (twenty minutes, network, root).

There is no systemd in a folder, so systemctl is a stand-in.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> /calls
case "$*" in
    "is-enabled --quiet docker" | "is-active --quiet docker") test -e /docker-runs ;;
    "enable --now docker") command -v dockerd > /dev/null && touch /docker-runs ;;
    "is-active --quiet firewalld" | "is-active --quiet nftables") exit 3 ;;
    "show --property Listen ssh.socket") ;;
    *) exit 1 ;;
esac
"""
SSHD = "Port 2022\nListenAddress 0.0.0.0\n"


UBUNTU = "http://archive.ubuntu.com/ubuntu"
SYSTEMS = {"bookworm": "", "trixie": "", "jammy": UBUNTU, "noble": UBUNTU}
"""Debian 12 and 13, Ubuntu 22.04 and 24.04, and where the latter come from."""


@pytest.fixture(scope="module", params=SYSTEMS)
def debian(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one of them, an SSH server on an unusual port, and this checkout in /opt/neo."""
    folder = tmp_path_factory.mktemp("debian") / request.param
    include = "--include=apt,ca-certificates,openssh-server,ufw,iproute2,iptables"
    command = ["mmdebstrap", "--variant=minbase", include]
    if SYSTEMS[request.param]:
        suites = (request.param, f"{request.param}-updates")
        # Debian does not have the archive's keys; nothing that is fetched here outlives the test.
        sources = [f"deb [trusted=yes] {SYSTEMS[request.param]} {suite} main universe" for suite in suites]
        command += [request.param, str(folder), *sources]
    else:
        command += [request.param, str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copy(AUTHORITIES, folder / "etc/ssl/certs/ca-certificates.crt")
    for path, text in {"usr/local/bin/systemctl": SYSTEMCTL, "etc/ssh/sshd_config.d/port.conf": SSHD}.items():
        (folder / path).write_text(text)
    (folder / "usr/local/bin/systemctl").chmod(0o755)
    (folder / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (folder / "usr/sbin/policy-rc.d").chmod(0o755)
    (folder / "run/sshd").mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "opt/neo")], check=True)
    # What is here and not committed yet is tried, too.
    shutil.copy(ROOT / "deploy/install.sh", folder / "opt/neo/deploy/install.sh")
    yield folder
    shutil.rmtree(folder)


def inside(debian: Path, *command: str, network: bool) -> subprocess.CompletedProcess[str]:
    """Run something there; without a network, in an empty one of its own, whose firewall is its own."""
    mounts = (
        'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount -t sysfs sys "$0/sys" || true'
    )
    script = f'{mounts}; [ -n "$1" ] || ip link set lo up; shift; exec chroot "$0" "$@"'
    own = ["--mount", "--pid", "--fork", *([] if network else ["--net"])]
    return subprocess.run(
        ["unshare", *own, "sh", "-c", script, str(debian), "yes" if network else "", *command],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=900,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MIN_DISK_MB": "1"},
    )


def install(debian: Path, *words: str, network: bool) -> str:
    done = inside(debian, "/opt/neo/deploy/install.sh", "--no-start", *words, network=network)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def everything(debian: Path) -> dict[str, tuple[int, int]]:
    """All files but those in which programs note that they ran."""
    noted = ("calls", "var/log", "var/cache", "tmp", "root", "proc", "sys", "dev", "run")
    return {
        str(name): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in debian.rglob("*")
        if not path.is_dir() and not str(name := path.relative_to(debian)).startswith(noted)
    }


def test_docker_comes_from_the_distribution_once(debian: Path) -> None:
    said = install(debian, "--no-firewall", "AI_DOMAIN=ai.example.org", network=True)
    assert re.search(r"apt-get install .* docker\.io docker-compose(-v2)?\n", said)
    version = inside(
        debian,
        "sh",
        "-c",
        "dockerd --version; docker compose version || docker-compose --version",
        network=False,
    )
    assert version.returncode == 0, version.stderr
    assert (debian / "docker-runs").exists()
    assert "\nAI_DOMAIN=ai.example.org\n" in (debian / "opt/neo/.env").read_text()
    assert (debian / "opt/neo/deploy/secrets/redis/password").stat().st_mode & 0o777 == 0o600
    before = everything(debian)
    again = install(debian, "--no-firewall", "AI_DOMAIN=ai.example.org", network=True)
    assert "done: 0 steps changed something" in again
    assert everything(debian) == before


def test_the_firewall_lets_in_the_operator_and_the_web(debian: Path) -> None:
    said = install(debian, network=False)
    assert "+ ufw --force enable" in said
    # Its rules outlive the network in which they were made: a start loads them into a fresh one.
    as_a_start_does = "ufw --force enable > /dev/null && iptables -S"
    shown = inside(debian, "sh", "-c", as_a_start_does, network=False)
    assert shown.returncode == 0, shown.stderr
    ports = re.findall(r"-A ufw-user-input -p tcp -m tcp --dport (\d+) -j ACCEPT", shown.stdout)
    assert ports == ["2022", "80", "443"]
    assert "-P INPUT DROP" in shown.stdout
    again = install(debian, network=False)
    assert [line for line in again.splitlines() if line.startswith("+ ")] == ["+ ufw --force enable"]
