"""A Docker engine of the tests' own, with stand-ins for the official images; see tests/deploy/stand_ins."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STAND_INS = Path(__file__).resolve().parent / "stand_ins"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
PYTHON_IMAGE = "python:3.11-slim-bookworm"
OFFICIAL = {"nginx": "nginx:1.28-bookworm", "redis": "redis:7.2-bookworm", "postgres": "postgres:15-bookworm"}
START_SECONDS = 60.0


class DockerEngine:
    """Its data lies in a folder that may be kept, so that images are not built anew each time."""

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
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the Docker engine does not answer"
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends it and every container."""
        assert self._process is not None
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

    def make_base_image(self) -> None:
        """A small Debian with Python, from Debian's packages."""
        if self.has_image("neo-test-base"):
            return
        archive = self.folder / "base.tar"
        packages = "python3,python3-venv,ca-certificates"
        command = ["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(archive)]
        subprocess.run(command, check=True, capture_output=True)
        self.docker("import", str(archive), "neo-test-base")
        archive.unlink()

    def make_stand_ins(self) -> None:
        """Images with the names of the official ones."""
        self.make_base_image()
        context = self.folder / "stand_ins"
        shutil.copytree(STAND_INS, context, dirs_exist_ok=True)
        shutil.copy(AUTHORITIES, context / "ca-certificates.crt")
        for name, tag in {"python": PYTHON_IMAGE, **OFFICIAL}.items():
            self.docker("build", "-q", "-t", tag, "-f", f"{name}.Dockerfile", ".", cwd=context)
