"""A process that performs one run after the other."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos.fast_time import FastLoop
from chaos.forks import Zygote
from chaos.outages import Servers
from ports import free_port
from telegram_chaos.plan import plan_of
from telegram_chaos.run import Outcome, environ_of, perform
from telegram_service.config import Settings
from telegram_service.resources import migrate


def perform_all(work: Any, results: Any, keep: Path) -> None:
    """Perform runs until there are no more."""
    parent, port = os.getppid(), free_port()
    base = Path(tempfile.mkdtemp(prefix="neo-chaos-"))
    servers, zygote = Servers(base, _prepare), Zygote("telegram_chaos.zygote")
    try:
        while (seed := work.get()) is not None and os.getppid() == parent:
            results.put(asdict(_one(seed, servers, zygote, base / f"{seed}", port, keep)))
    finally:
        zygote.close()
        servers.close()
        shutil.rmtree(base)


def _one(seed: int, servers: Servers, zygote: Zygote, folder: Path, port: int, keep: Path) -> Outcome:
    folder.mkdir()
    plan = plan_of(seed)
    environ = environ_of(plan, servers, folder, port)
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        outcome = runner.run(perform(plan, servers, zygote, folder, environ))
    if outcome.faults:
        shutil.copytree(folder, keep / f"{seed}", dirs_exist_ok=True)
    shutil.rmtree(folder)
    return outcome


def _prepare(address: str, folder: Path) -> None:
    environ = {"TELEGRAM_BOT_TOKEN": "none", "DATABASE_URL": address}
    asyncio.run(migrate(Settings.load(environ, folder / ".env")))
