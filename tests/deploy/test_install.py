"""deploy/install.sh on machines whose packages, firewall and services are stand-ins that know no other words
than those the script may say; the rest is real: its shell, git, files, secrets. tests/deploy/real_install.py
has a real Debian."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from workspace_setup import servers

ROOT = Path(__file__).resolve().parent.parent.parent
DEBIAN = 'ID=debian\nVERSION_ID="12"\n'
SCRIPTS = sorted(
    [*ROOT.glob("deploy/**/*.sh"), *ROOT.glob("nginx/**/*.sh"), ROOT / "tools/setup.sh"], key=str
)
# Each writes down what it was told, answers from the machine's folder, and refuses what it does not know.
STAND_INS = {
    "apt-get": """
        case "$*" in
            update) touch "$MACHINE/lists" ;;
            "install --yes --no-install-recommends "*)
                [ -e "$MACHINE/lists" ] && [ "${DEBIAN_FRONTEND:-}" = noninteractive ] || exit 98
                shift 3
                for package; do
                    grep -qx "$package" "$MACHINE/known" || exit 97
                    echo "$package" >> "$MACHINE/installed"
                    for program in $(sed -n "s/^$package: //p" "$MACHINE/programs"); do
                        mv "$MACHINE/later/$program" "$MACHINE/bin/$program"
                    done
                done ;;
            *) exit 99 ;;
        esac""",
    "apt-cache": """
        [ "$1" = show ] && [ $# = 2 ] || exit 99
        [ -e "$MACHINE/lists" ] && grep -qx "$2" "$MACHINE/known" && echo "Package: $2" """,
    "dpkg-query": """
        [ "$1 $2 $3" = '--show --showformat ${db:Status-Status}\\n' ] || exit 99
        grep -qx "$4" "$MACHINE/installed" && echo installed""",
    "systemctl": """
        case "$*" in
            "is-enabled --quiet docker" | "is-active --quiet docker") test -e "$MACHINE/docker-runs" ;;
            "enable --now docker") [ -e "$MACHINE/bin/dockerd" ] && touch "$MACHINE/docker-runs" ;;
            "is-active --quiet firewalld" | "is-active --quiet nftables") test -e "$MACHINE/$3-runs" ;;
            "show --property Listen ssh.socket") cat "$MACHINE/ssh.socket" ;;
            *) exit 99 ;;
        esac""",
    "ss": '[ "$*" = -Hltnp ] || exit 99; cat "$MACHINE/listening"',
    "sshd": '[ "$*" = -T ] || exit 99; cat "$MACHINE/sshd_config"',
}
LATER = {
    "ufw": """
        case "$*" in
            "show added") echo "Added user rules (see 'ufw status'):"; cat "$MACHINE/rules" ;;
            "allow "[0-9]*/tcp) echo "ufw $*" >> "$MACHINE/rules" ;;
            status) if [ -e "$MACHINE/wall" ]; then echo "Status: active"; else echo "Status: inactive"; fi ;;
            "--force enable") cp "$MACHINE/rules" "$MACHINE/wall" ;;
            *) exit 99 ;;
        esac""",
    "dockerd": "exit 99",
    "docker": "exit 1",
    "docker-compose": "exit 99",
}
# Of this machine, nothing else is in the PATH: it may have a Docker, or none.
REAL = (
    *("awk", "basename", "cat", "chmod", "chown", "cmp", "cp", "cut", "df", "dirname", "env", "git", "grep"),
    *("head", "id", "install", "ls", "mkdir", "mount", "mv", "rm", "sed", "setpriv", "sh", "sort", "tail"),
    *("touch", "tr", "uname"),
)
PACKAGES = "git make openssl python3-dnspython ufw docker.io docker-compose"
UP = '#!/bin/sh\necho "started" >> "$MACHINE/started"\n'


@dataclass(frozen=True)
class Machine:
    """A server that somebody has just rented."""

    folder: Path

    @property
    def suite(self) -> Path:
        return self.folder / "neo"

    def calls(self) -> list[str]:
        """What was changed, or asked, since the last time."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    def changes(self) -> list[str]:
        """What was changed since the last time."""
        asking = ("apt-cache", "dpkg-query", "ss", "sshd", "docker compose version")
        questions = ("systemctl is-", "systemctl show", "ufw show", "ufw status")
        return [line for line in self.calls() if not line.startswith((*asking, *questions))]

    def rules(self) -> list[str]:
        """What the firewall lets in, once it is on."""
        wall = self.folder / "wall"
        return re.findall(r"allow (\d+)/tcp", wall.read_text()) if wall.exists() else []

    def install(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script as root there."""
        command = ["sh", str(ROOT / "deploy/install.sh"), "--directory", str(self.suite)]
        return self.run([*command, "--repository", str(self.folder / "origin"), *words], environment)

    def run(self, command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        inside = f'mount --bind {self.folder}/os-release /etc/os-release && exec "$@"'
        return subprocess.run(
            [str(shutil.which("unshare")), "--mount", "sh", "-ec", inside, "-", *command],
            env={
                "PATH": f"{self.folder}/bin:{self.folder}/real",
                "MACHINE": str(self.folder),
                "MIN_DISK_MB": "1",
                "MIN_MEMORY_MB": "1",
                **environment,
            },
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / name
    # printf: the shell's own echo would take a backslash for an order.
    path.write_text(f"""#!/bin/sh\nprintf '%s\\n' "{name} $*" >> "$MACHINE/calls"\n{body}\n""")
    path.chmod(0o755)


def origin(folder: Path) -> None:
    """A repository of which all but `up.sh` is the real one."""
    copied = (".env.example", "docker-compose.yml", "deploy/secrets.sh", "deploy/settings.sh")
    for name in copied:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "deploy/up.sh").write_text(UP)
    (folder / "deploy/up.sh").chmod(0o755)
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=n@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all of it"]):
        subprocess.run([*git, *words], check=True)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("bin", "later", "origin", "real"):
        (tmp_path / name).mkdir()
    for name in REAL:
        (tmp_path / "real" / name).symlink_to(str(shutil.which(name)))
    for name, body in STAND_INS.items():
        stand_in(tmp_path / "bin", name, body)
    for name, body in LATER.items():
        stand_in(tmp_path / "later", name, body)
    texts = {
        "os-release": DEBIAN,
        "installed": "ca-certificates\nunattended-upgrades\n",
        "known": "git\nmake\nopenssl\npython3-dnspython\nufw\ndocker.io\ndocker-compose\n",
        "programs": "ufw: ufw\ndocker.io: dockerd docker\ndocker-compose: docker-compose\n",
        "ssh.socket": "",
        "listening": 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))\n',
        "sshd_config": "port 22\naddressfamily any\n",
        "rules": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    origin(tmp_path / "origin")
    return Machine(tmp_path)


def test_a_fresh_server_becomes_one_that_runs_the_suite_and_stays_so(machine: Machine) -> None:
    settings = {"TELEGRAM_BOT_TOKEN": "1234:a&b/c\\d", "COMPOSE_PROFILES": "telegram"}
    done = machine.install("AI_DOMAIN=ai.example.org", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.changes() == [
        "apt-get update",
        f"apt-get install --yes --no-install-recommends {PACKAGES}",
        "systemctl enable --now docker",
        "ufw allow 22/tcp",
        "ufw allow 80/tcp",
        "ufw allow 443/tcp",
        "ufw --force enable",
    ]
    assert machine.rules() == ["22", "80", "443"]
    env = (machine.suite / ".env").read_text()
    assert "\nAI_DOMAIN=ai.example.org\n" in env
    assert "\nCOMPOSE_PROFILES=telegram\n" in env
    # A secret goes to its file, is printed nowhere, and is left in no file that others read.
    token = machine.suite / "deploy/secrets/telegram/telegram_bot_token"
    assert token.read_text() == "1234:a&b/c\\d\n"
    assert token.stat().st_mode & 0o777 == 0o600
    assert "1234" not in env + done.stdout
    assert "unattended upgrades: installed, and left as they are" in done.stdout
    assert (machine.folder / "started").read_text() == "started\n"

    secrets = sorted((path, path.read_text()) for path in machine.suite.glob("deploy/secrets/*/*"))
    again = machine.install("AI_DOMAIN=ai.example.org", **settings)
    assert (again.returncode, again.stderr) == (0, "")
    assert "done: 0 steps changed something" in again.stdout
    assert machine.changes() == []
    assert (machine.suite / ".env").read_text() == env
    assert sorted((path, path.read_text()) for path in machine.suite.glob("deploy/secrets/*/*")) == secrets


def test_what_the_operator_has_written_stays(machine: Machine) -> None:
    assert machine.install("AI_DOMAIN=ai.example.org", "--no-start").returncode == 0
    env = machine.suite / ".env"
    env.write_text(env.read_text().replace("ai.example.org", "chat.example.org") + "MINE=1\n")
    env.chmod(0o640)
    before = env.read_text()
    done = machine.install("AI_DOMAIN=ai.example.org", "--no-start")
    assert "AI_DOMAIN stays as it is there" in done.stdout
    assert (env.read_text(), env.stat().st_mode & 0o777) == (before, 0o640)
    assert not (machine.folder / "started").exists()


def test_a_dry_run_says_each_step_and_does_none(machine: Machine) -> None:
    done = machine.install("--dry-run", "AI_DOMAIN=ai.example.org", EMAIL_PASSWORD="hunter2")
    assert (done.returncode, done.stderr) == (0, "")
    steps = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert [step for step in steps if "ufw" in step and "apt-get" not in step] == [
        "+ ufw allow 22/tcp",
        "+ ufw allow 80/tcp",
        "+ ufw allow 443/tcp",
        "+ ufw --force enable",
    ]
    assert [step.split()[1] for step in steps][:3] == ["apt-get", "env", "systemctl"]
    assert any(step.startswith("+ git clone") for step in steps)
    assert "+ AI_DOMAIN=… into .env" in steps
    assert "hunter2" not in done.stdout
    assert machine.changes() == []
    assert not machine.suite.exists()


@pytest.mark.parametrize(
    ("listening", "config", "socket", "connection", "doors"),
    [
        ('LISTEN 0 128 [::]:2222 [::]:* users:(("sshd",pid=1,fd=3))', "port 2222", "", "", ["2222"]),
        # Ubuntu's: systemd listens, and nobody has come in yet.
        (
            'LISTEN 0 4096 *:2022 *:* users:(("systemd",pid=1,fd=3))',
            "",
            "Listen=[::]:2022 (Stream)",
            "",
            ["2022"],
        ),
        # What listens goes on listening after sshd_config has changed.
        (
            'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))',
            "port 2200",
            "",
            "",
            ["22", "2200"],
        ),
        ("", "", "", "198.51.100.7 51515 203.0.113.5 4022", ["4022"]),
        # Ports that somebody's session has forwarded are no doors.
        ('LISTEN 0 128 127.0.0.1:6010 0.0.0.0:* users:(("sshd",pid=9,fd=3))', "port 22", "", "", ["22"]),
        ("", "", "", "", ["22"]),
    ],
)
def test_the_door_by_which_the_operator_comes_in_stays_open(
    machine: Machine, listening: str, config: str, socket: str, connection: str, doors: list[str]
) -> None:
    for name, text in (("listening", listening), ("sshd_config", config), ("ssh.socket", socket)):
        (machine.folder / name).write_text(f"{text}\n")
    done = machine.install("--no-start", **({"SSH_CONNECTION": connection} if connection else {}))
    assert done.returncode == 0, done.stderr
    assert machine.rules() == [*doors, "80", "443"]
    firewall = [line for line in machine.changes() if line.startswith("ufw")]
    assert firewall[-1] == "ufw --force enable"


def test_a_firewall_of_the_operators_own_is_left_alone(machine: Machine) -> None:
    (machine.folder / "nftables-runs").touch()
    done = machine.install("--no-start")
    assert "nftables rules here and is left as it is" in done.stdout
    assert not [line for line in machine.changes() if line.startswith("ufw")]
    (machine.folder / "nftables-runs").unlink()
    assert machine.install("--no-start", "--no-firewall").returncode == 0
    assert not [line for line in machine.changes() if line.startswith("ufw")]


def test_a_docker_that_is_there_stays(machine: Machine) -> None:
    for name, body in (("dockerd", "exit 99"), ("docker", '[ "$*" = "compose version" ]')):
        stand_in(machine.folder / "bin", name, body)
    (machine.folder / "docker-runs").touch()
    assert machine.install("--no-start").returncode == 0
    assert not [line for line in machine.changes() if "docker" in line]


def test_ubuntus_compose_has_another_name(machine: Machine) -> None:
    (machine.folder / "os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\n')
    with (machine.folder / "known").open("a") as known:
        known.write("docker-compose-v2\n")
    assert machine.install("--no-start").returncode == 0
    assert any(line.endswith("docker.io docker-compose-v2") for line in machine.changes())


@pytest.mark.parametrize(
    ("os_release", "environment", "words", "reason"),
    [
        ('ID=debian\nVERSION_ID="11"', {}, [], "this is debian 11: only Debian 12 and 13"),
        ("ID=fedora\nVERSION_ID=42", {}, [], "this is fedora 42"),
        ("", {}, [], "an unknown system"),
        (DEBIAN, {"MIN_MEMORY_MB": "99999999"}, [], "MB of memory are too few"),
        (DEBIAN, {"MIN_DISK_MB": "999999999"}, [], "MB are free below /var/lib"),
        (DEBIAN, {}, ["--directory"], "--directory wants a value"),
        (DEBIAN, {}, ["ai_domain=x"], "what is ai_domain=x?"),
        (DEBIAN, {}, ["PATH=/tmp"], "PATH is no name of a setting"),
        (
            DEBIAN,
            {},
            ["--dry-run", "--repository", "", "--no-start"],
            "--repository says what is to be cloned",
        ),
    ],
)
def test_where_it_cannot_be_done_that_is_said_before_anything_is_changed(
    machine: Machine, os_release: str, environment: dict[str, str], words: list[str], reason: str
) -> None:
    (machine.folder / "os-release").write_text(os_release)
    done = machine.install(*words, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith("deploy/install.sh: ")
    assert reason in done.stderr
    assert machine.changes() == []


def test_who_is_not_root_is_told_so(machine: Machine) -> None:
    machine.folder.chmod(0o755)
    # As nobody, in a place that nobody may read.
    script = machine.folder / "install.sh"
    shutil.copy(ROOT / "deploy/install.sh", script)
    for folder in (machine.folder, *machine.folder.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    done = machine.run(["setpriv", "--reuid=65534", "--clear-groups", "sh", str(script)], {})
    assert done.returncode == 1
    assert "run this as root" in done.stderr


def test_shell_scripts_have_no_faults_that_can_be_seen() -> None:
    assert servers.program("shellcheck")() is not None
    # 2034: what is read by others is not used here. 2010: names that we make have no odd characters.
    options = ("--external-sources", "--severity=warning", "--exclude=2010,2034")
    parts = [path for path in SCRIPTS if not path.read_text().startswith("#!")]
    for more, paths in ((["--shell=sh"], parts), ([], sorted(set(SCRIPTS) - set(parts)))):
        checked = subprocess.run(
            ["shellcheck", *options, *more, *map(str, paths)],
            capture_output=True,
            encoding="utf-8",
            check=False,
            cwd=ROOT,
        )
        assert checked.stdout == ""
    assert len(SCRIPTS) > 10
