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
from mail_chaos.office import Office
from mail_chaos.plan import plan_of
from mail_chaos.run import Outcome, environ_of, perform
from mail_service.config import Settings
from mail_service.records import migrate


def perform_all(work: Any, results: Any, keep: Path) -> None:
    """Perform runs until there are no more."""
    parent = os.getppid()
    base = Path(tempfile.mkdtemp(prefix="neo-chaos-"))
    base.chmod(0o711)
    servers, zygote, office = Servers(base, _prepare), Zygote("mail_chaos.zygote"), Office(base)
    try:
        while (seed := work.get()) is not None and os.getppid() == parent:
            results.put(asdict(_one(seed, servers, zygote, office, base / f"{seed}", keep)))
    finally:
        zygote.close()
        office.close()
        servers.close()
        shutil.rmtree(base)


def _one(seed: int, servers: Servers, zygote: Zygote, office: Office, folder: Path, keep: Path) -> Outcome:
    folder.mkdir()
    plan = plan_of(seed)
    environ = environ_of(plan, servers, office, folder)
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        outcome = runner.run(perform(plan, servers, zygote, office, folder, environ))
    if outcome.faults or os.environ.get("CHAOS_KEEP"):
        shutil.copytree(folder, keep / f"{seed}", dirs_exist_ok=True)
    shutil.rmtree(folder)
    return outcome


def _prepare(address: str, folder: Path) -> None:
    environ = {
        "EMAIL_ADDRESS": "a@example.test",
        "EMAIL_PASSWORD": "none",
        "IMAP_HOST": "localhost",
        "DATABASE_URL": address,
    }
    asyncio.run(migrate(Settings.load(environ, folder / ".env")))
