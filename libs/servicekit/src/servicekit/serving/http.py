"""An application behind a socket, served by uvicorn within a block."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

BACKLOG = 2_048
KEEP_ALIVE_SECONDS = 75
"""For connections that nobody uses: longer than a proxy keeps them (nginx: 60 s), because where we close
first, a request that is just on its way is lost."""
CLOSE_SECONDS = 5
"""For requests that are still being answered when the block ends."""


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
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=CLOSE_SECONDS,
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
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(_sentence(host, port, error)) from error
    # Connections have this from it. asyncio overlooks theirs, and without it each answer, which goes out as a
    # head and a body, waits some 40 ms for the other side to acknowledge the head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use already: end the program that uses it, or choose another one."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used without privileges: choose one from 1024 on."
    return f"{host}, port {port}, cannot be listened on: {error.strerror}."


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the service: its door stays open until its work is put down.
        yield
