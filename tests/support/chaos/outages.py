"""The servers of a lane of runs, and how they go away for a while."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.core import AilingCore
from chaos.mishaps import Outage, Surroundings
from servers import PostgresServer, RedisServer

TEMPLATE = "template_of_runs"
FILE = "service.db"


@dataclass
class Servers:
    """Started at their first use, and kept for all runs of a lane."""

    folder: Path
    prepare: Callable[[str, Path], None]
    """Brings the database at an address up to date."""
    _redis: RedisServer | None = None
    _postgres: PostgresServer | None = None
    _prepared: set[str] = field(default_factory=set)

    def database(self, plan: Surroundings, folder: Path) -> str:
        """The address of a fresh database for a run."""
        if not plan.postgres:
            template = self.folder / "template.db"
            if not template.exists():
                self.prepare(f"sqlite:///{template}", self.folder)
                _checkpoint(template)
            shutil.copy(template, folder / FILE)
            return f"sqlite:///{folder}/{FILE}"
        server = self.postgres()
        if TEMPLATE not in self._prepared:
            self.prepare(server.create(TEMPLATE), self.folder)
            self._prepared.add(TEMPLATE)
        name = f"run_{plan.seed}"
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return server.url(name)

    def postgres(self) -> PostgresServer:
        """A PostgreSQL that is up."""
        if self._postgres is None:
            self._postgres = PostgresServer()
        self._postgres.start()
        return self._postgres

    def redis(self) -> RedisServer:
        """A Redis that is up and empty."""
        if self._redis is None:
            self._redis = RedisServer()
        self._redis.start()
        self._redis.empty()
        return self._redis

    def close(self) -> None:
        """End them."""
        for server in (self._redis, self._postgres):
            if server is not None:
                server.close()


async def happen(
    outage: Outage, plan: Surroundings, servers: Servers, core: AilingCore, folder: Path
) -> None:
    """Be away, and come back, however this ends."""
    if outage.what == "core":
        core.ailment = outage.how
        try:
            await asyncio.sleep(outage.seconds)
        finally:
            core.ailment = ""
    elif outage.how == "locked":
        await _lock(folder / FILE, outage.seconds)
    else:
        server = servers.postgres() if outage.what == "database" else servers._redis
        assert server is not None
        await asyncio.to_thread(server.pause if outage.how == "paused" else server.stop)
        try:
            await asyncio.sleep(outage.seconds)
        finally:
            await asyncio.shield(asyncio.to_thread(server.start))


async def _lock(path: Path, seconds: float) -> None:
    """Somebody else writes, and takes very long."""
    with contextlib.closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(seconds)


def _checkpoint(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
