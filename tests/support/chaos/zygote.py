"""A process that has imported a service, and forks it: each service is a real process, and starts at once.

Orders come as lines of JSON on the standard input, and answers go out as lines on the standard output:
``{"pid": …}`` for a start, ``{"ended": pid, "status": …, "cpu": seconds}`` for an end. When the input ends,
all services are killed.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from types import ModuleType
from typing import Any

from sqlalchemy import URL

from chaos.fast_time import FACTOR, FastLoop, fast_monotonic
from chaos.points import Trace
from servicekit import logging
from servicekit.storage.database import COMMAND_SECONDS, Database, StorageUnavailable

FOR_A_WHILE = 75
"""Exit status where something was away at the start (EX_TEMPFAIL)."""
LEASE_SECONDS = 6.0
"""A killed process holds its lanes so long."""
LATE_IMPORTS = (
    "aiosqlite",
    "asyncpg",
    "h11",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What would be imported at the first use."""

Run = Callable[[dict[str, Any], Trace], Coroutine[Any, Any, None]]
"""The service until its end, from an order, after points were installed for a trace."""


def serve(run: Run, *passing: type[Exception]) -> None:
    """Serve orders until there are no more.

    Args:
        passing: what a service raises while something is away at its start, besides StorageUnavailable.
    """
    for name in LATE_IMPORTS:
        importlib.import_module(name)
    gc.freeze()
    running: set[int] = set()
    wake, waken = os.pipe()
    os.set_blocking(waken, False)
    signal.set_wakeup_fd(waken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = os.fdopen(0, "rb", buffering=0)
    while True:
        ready, _, _ = select.select([orders.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _reap(running)
        if orders.fileno() in ready:
            line = orders.readline()
            if not line:
                break
            pid = os.fork()
            if pid == 0:
                orders.close()
                _become(json.loads(line), run, (StorageUnavailable, *passing))
            running.add(pid)
            _say({"pid": pid})
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def replace(values: dict[str, Any], modules: Sequence[ModuleType]) -> None:
    """Put others in the place of what modules use by these names. Raises AssertionError: none does."""
    for name, value in values.items():
        places = [module for module in modules if hasattr(module, name)]
        assert places, f"the composition root has no {name} any more"
        for module in places:
            setattr(module, name, value)


def database(
    url: URL, *, command_seconds: float = COMMAND_SECONDS, in_loop: bool = False, at_once: bool = True
) -> Database:
    """A service's, whose patience counts in seconds of the run."""
    # SQLite waits in real seconds, whoever asks it; and PostgreSQL works in them.
    share = 1 / FACTOR if url.drivername.startswith("sqlite") else FACTOR / 2
    seconds = command_seconds * share
    return Database(url, command_seconds=seconds, clock=fast_monotonic, in_loop=in_loop, at_once=at_once)


def _reap(running: set[int]) -> None:
    for pid in list(running):
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            cpu = usage.ru_utime + usage.ru_stime
            _say({"ended": pid, "status": os.waitstatus_to_exitcode(status), "cpu": cpu})


def _say(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _become(order: dict[str, Any], run: Run, passing: tuple[type[Exception], ...]) -> None:
    """The service, with shorter seconds and points at which it may end; never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(log, number)
        os.environ.clear()
        os.environ.update(order["environ"])
        logging.configure("info", "json")
        file = os.open(order["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            runner.run(run(order, Trace(file, order["point"], order["times"])))
        status = 0
    except passing:
        # It could not start: whoever started it tries again.
        status = FOR_A_WHILE
    except BaseException:  # noqa: BLE001 - told, whatever it is: the status says that it was not the plan
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)
