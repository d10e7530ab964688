"""Ports for servers of tests, each of which is given out once."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import BinaryIO

HOST = "127.0.0.1"
# Below the ephemeral range, where no outgoing connection can take one meanwhile.
FIRST, END = 20_000, 32_000
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that no other test is given as long as this process lives.

    So its server may start later, or stop and start again.
    """
    # Not all from the same end: fewer are tried in vain.
    begin = FIRST + os.getpid() * 10 % (END - FIRST)
    for port in itertools.chain(range(begin, END), range(FIRST, begin)):
        if port not in _given and _is_ours(port) and _is_silent(port):
            _given.add(port)
            return port
    raise AssertionError("no free port")


@cache
def _register() -> BinaryIO:
    """A file of which each process locks the bytes whose numbers are its ports."""
    return Path(tempfile.gettempdir(), f"neo-test-ports-{os.getuid()}").open("ab")


def _is_ours(port: int) -> bool:
    try:
        fcntl.lockf(_register(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_silent(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
