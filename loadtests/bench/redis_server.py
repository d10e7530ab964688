"""A Redis of the benchmark's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.bench.servers import free_port

START_SECONDS = 10


def available() -> bool:
    """Whether there is a redis-server on this machine."""
    return shutil.which("redis-server") is not None


@contextmanager
def redis() -> Iterator[str]:
    """The URL of an empty Redis that keeps nothing."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="neo-bench-redis-") as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        command = [
            "redis-server",
            *(part for name, value in options.items() for part in (f"--{name}", str(value))),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(port)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"redis-server does not answer on port {port}")
