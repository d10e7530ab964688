"""How commands speak to the person who runs them."""

from __future__ import annotations

import contextlib
import sys
from ipaddress import ip_address
from pathlib import Path

ENV_FILE = Path(".env")
EXIT_SETTINGS = 2


def complain(*lines: str, status: int = EXIT_SETTINGS) -> int:
    """Sentences to standard error; returns the exit status."""
    for line in lines:
        print(f"ai-core: {line}", file=sys.stderr)
    return status


def local_url(host: str, port: int) -> str:
    """How a program on this machine reaches a server that listens on ``host``."""
    with contextlib.suppress(ValueError):
        address = ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
