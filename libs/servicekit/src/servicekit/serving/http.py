"""An application behind a socket, served by uvicorn within a block."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

BACKLOG = 2048


class ListenError(Exception):
    """A port cannot be taken; the text says which and why."""


@asynccontextmanager
async def serving(app: Callable[..., Any], host: str, port: int) -> AsyncIterator[int]:
    """Serve an application until the block ends; requests under way are answered then.

    Args:
        host: an address of this machine, or ``0.0.0.0``, ``::``.
        port: 0 takes a free one.

    Yields:
        The port.

    Raises:
        ListenError: the port is taken, or not ours to take.
    """
    with listener(host, port) as sock:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", server_header=False, backlog=BACKLOG
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve([sock]))
        try:
            yield int(sock.getsockname()[1])
        finally:
            server.should_exit = True
            await task


def listener(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ListenError(f"{host}:{port} cannot be listened on ({reason}).") from error


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the service: its door stays open until its work is put down.
        yield
