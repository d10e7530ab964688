"""Listening, and an orderly end: uvicorn with our own handling of signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ai_core.api.protocol import BoundedHttpProtocol
from servicekit.logging import get_logger

BACKLOG = 2_048
KEEP_ALIVE_SECONDS = 75
MAX_MESSAGE_BYTES = 2_097_152
CLOSE_SECONDS = 5
"""For connections whose last bytes are still on their way when everything is answered."""

log = get_logger(__name__)


class ListenError(Exception):
    """The address cannot be listened on; the text says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ListenError."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ListenError(f"API_HOST: '{host}' is no address of this machine ({error.strerror}).") from error
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(_bind_sentence(host, port, error)) from error
    return listener


def _bind_sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use already: end the program that uses it, or set API_PORT "
            "to another port."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used without privileges: set API_PORT to 1024 or more."
    return f"API_HOST={host}, API_PORT={port}: {error.strerror}."


def allow_many_connections() -> None:
    """Raise the limit of open files to what the system allows: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are ours: uvicorn would stop listening at the first one, where a client that comes
        # during draining should get a 503, and would pass the signal on when done.
        yield


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    drain: Callable[[], Awaitable[None]],
    abort: Callable[[], None],
    *,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> None:
    """Serve until SIGTERM or SIGINT, and ``drain``; a second signal calls ``abort``, to make it quick."""
    server = _Server(configuration(app, max_message_bytes))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            abort()
        stop.set()

    with _signals(on_signal):
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            log.info("draining")
            await drain()
        server.should_exit = True
        await serving


def configuration(app: ASGIApp, max_message_bytes: int = MAX_MESSAGE_BYTES) -> uvicorn.Config:
    """How this application is served; also by tests. ``max_message_bytes``: of one WebSocket message."""
    return uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws=WebSocketsSansIOProtocol,
        ws_max_size=max_message_bytes,
        # A few bytes could stand for very many, and an answer comes in pieces too small to be worth it.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        reset_contextvars=True,
    )


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
