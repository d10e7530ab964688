"""A Docker engine of the tests' own, with stand-ins for the official images; see tests/deploy/stand_ins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
STAND_INS = Path(__file__).resolve().parent / "stand_ins"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE = "neo-test-base"
PYTHON_IMAGE = "python:3.11-slim-bookworm"
SERVERS = {
    "nginx": "nginx:1.28-bookworm",
    "redis": "redis:7.2-bookworm",
    "postgres": "postgres:15-bookworm",
    "mailserver": "mailserver/docker-mailserver:15.0",
}
MONITORING = {
    "prometheus": "prom/prometheus:v2.55.1",
    "alertmanager": "prom/alertmanager:v0.27.0",
    "node-exporter": "prom/node-exporter:v1.8.2",
    "redis-exporter": "oliver006/redis_exporter:v1.67.0",
    "postgres-exporter": "prometheuscommunity/postgres-exporter:v0.16.0",
    "blackbox-exporter": "prom/blackbox-exporter:v0.25.0",
    "grafana": "grafana/grafana:11.5.2",
}
SCANNERS = {"rspamd": "rspamd/rspamd:3.11", "clamav": "clamav/clamav:1.4"}
START_SECONDS = 60.0


class DockerEngine:
    """Its data lies in a folder that may be kept, so that images are not built anew each time.

    One that answers there already is used, and left as it is found.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
            "DOCKER_BUILDKIT": "0",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes commands."""
        if self.try_docker("version").returncode == 0:
            return
        assert os.geteuid() == 0, "a Docker engine of the tests' own wants root"
        # Each would take the other's bridge and rules of the firewall.
        engines = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "dockerd"]
        others = [each.pid for each in engines if each.status() != psutil.STATUS_ZOMBIE]
        assert not others, f"another Docker engine runs on this machine (process {others[0]}): stop it first"
        self.folder.mkdir(parents=True, exist_ok=True)
        options = [
            *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
            *("--pidfile", f"{self.folder}/pid", "-H", f"unix://{self.folder}/docker.sock"),
            *("--storage-driver", "overlay2", "--oom-score-adjust", "0", "--bip", "172.30.99.1/24"),
        ]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                ["dockerd", *options], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while self.try_docker("version").returncode != 0:
            said = f"the Docker engine does not start:\n{(self.folder / 'log').read_text()[-2000:]}"
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends it and every container, if it was started here."""
        if self._process is None:
            return
        containers = self.docker("ps", "-aq").split()
        if containers:
            self.docker("rm", "-f", *containers)
        self.docker("network", "prune", "-f")
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_SECONDS)

    def docker(self, *arguments: str, cwd: Path | None = None) -> str:
        """What a command prints; it must succeed."""
        done = self.try_docker(*arguments, cwd=cwd)
        assert done.returncode == 0, (
            f"docker {' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def try_docker(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """What became of a command."""
        return self._run(["docker", *arguments], cwd)

    def script(self, *command: str, cwd: Path, **changed: str) -> str:
        """What one of the suite's own scripts prints; it must succeed."""
        done = self._run(list(command), cwd, **changed)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def _run(
        self, command: Sequence[str], cwd: Path | None, **changed: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **changed}
        return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)

    def has_image(self, name: str) -> bool:
        """Whether an image is there."""
        return bool(self.docker("images", "-q", name).strip())

    def make_python_image(self) -> None:
        """What the images of the services begin with."""
        if not self.has_image(BASE):
            archive = self.folder / "base.tar"
            packages = "python3,python3-venv,ca-certificates"
            command = ["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(archive)]
            done = self._run(command, None)
            assert done.returncode == 0, done.stderr[-2000:]
            self.docker("import", str(archive), BASE)
            archive.unlink()
        self._build("python", PYTHON_IMAGE)

    def make_servers(self) -> None:
        """Images with the names of the official ones. They hold the same programs, and differ in what they
        start."""
        self._build("servers", "neo-test-servers")
        for name, tag in SERVERS.items():
            self._build(name, tag)

    def make_the_rest(self) -> None:
        """The same for the profiles `monitoring` and `scanning`."""
        for common, images in {"monitoring": MONITORING, "scanners": SCANNERS}.items():
            self._build(common, f"neo-test-{common}")
            for name, tag in images.items():
                self._build(name, tag)

    def _build(self, name: str, tag: str) -> None:
        context = self.folder / "stand_ins"
        shutil.copytree(STAND_INS, context, dirs_exist_ok=True)
        shutil.copy(AUTHORITIES, context / "ca-certificates.crt")
        self.docker("build", "-q", "-t", tag, "-f", f"{name}.Dockerfile", ".", cwd=context)
