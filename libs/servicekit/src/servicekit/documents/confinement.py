"""What a process that reads strangers' documents gives up before it begins; it calls this itself."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from servicekit.documents.port import Limits

NICENESS = 10
"""A neighbour at this niceness costs an engine's step a tenth; one at the usual, half."""
OPEN_FILES = 64
FILE_BYTES = 1_000_000
"""Of each file that it writes; it needs none."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def confine(limits: Limits, parent: int) -> None:
    """Take away from this process, and from all that it starts, what a document must not use.

    The network goes where the kernel lets a process of ours have an empty one (Linux with user namespaces,
    or root); elsewhere it stays, and the other limits hold all the same.

    Args:
        parent: the process to die with.
    """
    os.nice(NICENESS)
    seconds = max(1, round(limits.seconds))
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _limit(what, most)
    if sys.platform == "linux":
        _confine_on_linux(parent)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _confine_on_linux(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It died before we asked to be told.
        os.kill(os.getpid(), signal.SIGKILL)
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
