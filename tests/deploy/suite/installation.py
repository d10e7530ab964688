"""The suite as an operator installs it: a folder with its files and settings, and an engine that runs it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.docker_engine import ROOT, DockerEngine

PROJECT = "neotest"
NETWORK = "10.231.73.0/24"
GATEWAY = "10.231.73.1"
"""This machine, as the containers see it."""
HTTP_PORT, HTTPS_PORT, TELEGRAM_PORT = 18_080, 18_443, 18_099
DOMAINS = {"AI_DOMAIN": "ai.neo.test", "TELEGRAM_DOMAIN": "telegram.neo.test", "MAIL_DOMAIN": "mail.neo.test"}
WAIT_SECONDS = "300"
# What an operator of this installation would write into docker-compose.override.yml: where the names of the
# test's domains lead, and that their self-signed certificates are trusted. Grafana's port may be taken.
OVERRIDE = f"""
x-names: &names ["ai.neo.test:{GATEWAY}", "telegram.neo.test:{GATEWAY}", "mail.neo.test:{GATEWAY}"]
services:
  mail:
    extra_hosts: *names
    volumes: ["./trusted.pem:/trusted.pem:ro"]
  blackbox-exporter:
    extra_hosts: *names
    environment: {{SSL_CERT_FILE: /trusted.pem}}
    volumes: ["./trusted.pem:/trusted.pem:ro"]
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder as after `git clone`, and what runs there."""

    engine: DockerEngine
    folder: Path
    project: str = PROJECT

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write .env, as an operator does: from .env.example."""
        kept = [
            line
            for line in (self.folder / ".env.example").read_text().splitlines()
            if line.split("=")[0] not in settings
        ]
        changed = [f"{name}={value}" for name, value in settings.items()]
        (self.folder / ".env").write_text("\n".join([*kept, *changed, ""]))
        (self.folder / "docker-compose.override.yml").write_text(OVERRIDE)
        self.script("deploy/certificates.sh", *DOMAINS.values())
        certificates = [self.certificate(domain).read_text() for domain in DOMAINS.values()]
        trusted = self.folder / "trusted.pem"
        trusted.write_text("".join(certificates))
        trusted.chmod(0o644)

    def script(self, *command: str, **changed: str) -> str:
        """What a script of the suite prints."""
        return self.engine.script(*command, cwd=self.folder, **changed)

    def up(self) -> str:
        """`make up`; what it prints."""
        try:
            return self.script("deploy/up.sh", WAIT_SECONDS=WAIT_SECONDS)
        except AssertionError:
            print(self.script("deploy/compose.sh", "logs", "--no-color", "--tail", "30"))
            raise

    def wait(self) -> None:
        """Until every container is well."""
        self.script("deploy/wait.sh", WAIT_SECONDS=WAIT_SECONDS)

    def down(self) -> None:
        """Away with it, and with all that it kept."""
        self.script("deploy/compose.sh", "down", "--volumes", "--timeout", "10")

    def services(self) -> list[str]:
        """Those that are running."""
        names = self.engine.docker("ps", "--format", "{{.Names}}", "-f", f"name=^{self.project}_").split()
        return sorted(name.removeprefix(f"{self.project}_").removesuffix("_1") for name in names)

    def container(self, service: str) -> str:
        """Its id, also while it does not run."""
        return self.engine.docker("ps", "-aq", "-f", f"name=^{self.project}_{service}_1$").strip()

    def inside(self, service: str, *command: str) -> str:
        """What a command prints inside a container."""
        return self.engine.docker("exec", self.container(service), *command)

    def logs(self, service: str) -> str:
        """The last of what it said."""
        done = self.engine.try_docker("logs", "--tail", "60", self.container(service))
        return done.stdout + done.stderr

    def secret(self, path: str) -> str:
        """What a secret's file holds."""
        return (self.folder / "deploy" / "secrets" / path).read_text().strip()

    def certificate(self, domain: str) -> Path:
        """Of a domain."""
        return self.folder / "deploy" / "certificates" / domain / "fullchain.pem"


def clone(folder: Path) -> None:
    """What an operator has after `git clone`, with llama.cpp as `make test` compiled it."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    wheels = sorted(
        (ROOT / "var" / "wheels").glob("*/llama_cpp_python-*.whl"), key=lambda path: path.stat().st_mtime
    )
    (folder / "deploy" / "wheels").mkdir(exist_ok=True)
    if wheels:
        shutil.copy(wheels[-1], folder / "deploy" / "wheels")


def settings(profiles: Sequence[str]) -> dict[str, str]:
    """Of an installation that tests can reach; without what the channels' stand-ins add."""
    return {
        "COMPOSE_PROFILES": ",".join(profiles),
        "COMPOSE_PROJECT_NAME": PROJECT,
        "NEO_EDGE_NETWORK": NETWORK,
        "HTTP_PORT": str(HTTP_PORT),
        "HTTPS_PORT": str(HTTPS_PORT),
        "GRAFANA_PORT": "13000",
        "NGINX_REQUESTS_PER_SECOND": "1000",
        "NGINX_BURST": "1000",
        **DOMAINS,
    }
