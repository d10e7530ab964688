"""Real servers for tests: one Redis and one PostgreSQL for the whole run, each in a private folder.

A test asks for ``redis_url`` or ``postgres_url`` and finds the server up and empty. One that pulls the plug
asks for ``redis_server`` or ``postgres_server`` as well and uses its ``stop``, ``start``, ``pause`` and
``resume``; whatever state it leaves behind, the next test finds the server up again. These calls block for
up to a second: in an async test that has tasks of its own running, go through ``asyncio.to_thread``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from ports import free_port
from workspace_setup import servers as installed

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds. Only ends what would hang for ever."""
ROLE = "neo"


def _guard(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    """Ends a server when the tests were killed: then the pipe to its guard closes."""
    script = (
        'read _; pkill -CONT -P "$0"; kill -INT "$0"; kill -CONT "$0"; sleep 5; kill -KILL "$0"; rm -rf "$1"'
    )
    return subprocess.Popen(
        ["sh", "-c", script, str(pid), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_until_ended(processes: list[psutil.Process]) -> None:
    """Those whose parent has ended, too, may be zombies for seconds, until the machine's first process looks
    after them; they hold nothing any more."""
    deadline = time.monotonic() + PATIENCE
    while any(map(_works, processes)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _works(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Program:
    """A server process on a port that it keeps over restarts."""

    def __init__(self, user: str | None = None) -> None:
        """``user`` runs the process, where root must not."""
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="neo-test-"))
        self._user = user
        self._process: psutil.Popen | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        if user is not None:
            shutil.chown(self.folder, user, user)

    def command(self) -> Sequence[str | Path]:
        """What runs in the foreground."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it takes requests."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns when requests are taken; nothing happens if it runs. What was paused goes on."""
        if self.running:
            self.resume()
            return
        with self.log.open("ab") as log:
            self._process = psutil.Popen(
                list(map(str, self.command())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                # Ctrl-C ends the tests, and they end the server.
                start_new_session=True,
            )
        self._guard = _guard(self._process.pid, self.folder)
        try:
            self._wait_until_ready()
        except AssertionError:
            self.kill()
            raise

    def stop(self) -> None:
        """Ends it as an operator would, clients or not; returns when it has ended."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends it as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Nothing is answered, but connections stay open and new ones are taken: a server that hangs."""
        self._signal(signal.SIGSTOP, self._processes())

    def resume(self) -> None:
        """Goes on after ``pause``."""
        self._signal(signal.SIGCONT, self._processes())

    def close(self) -> None:
        """Ends it, and nothing of it stays."""
        self.kill()
        shutil.rmtree(self.folder)

    @property
    def running(self) -> bool:
        """Whether there is a process, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.folder / "server.log"

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None, "it was never started"
        return [*self._process.children(recursive=True), self._process] if self.running else []

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.resume()
        if how == signal.SIGKILL and self.running:
            # No more children from here on.
            self._process.send_signal(signal.SIGSTOP)
        family = self._processes()
        self._signal(how, family if how == signal.SIGKILL else family[-1:])
        self._process.wait(PATIENCE)
        _wait_until_ended(family)
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    @staticmethod
    def _signal(number: signal.Signals, processes: list[psutil.Process]) -> None:
        for process in processes:
            # One that served a client may have ended meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            assert self.running, f"the server ended:\n{self.log.read_text(errors='replace')}"
            assert time.monotonic() < deadline, f"no answer:\n{self.log.read_text(errors='replace')}"
            time.sleep(0.01)


class RedisServer(Program):
    """Keeps everything in memory: what it held is gone when it starts again."""

    def __init__(self, password: str | None = None) -> None:
        super().__init__()
        self._password = password

    @property
    def url(self) -> str:
        """Without the password, which has a setting of its own."""
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        program = installed.redis_server()
        assert program is not None, "redis-server is missing; `make test` installs it"
        options = [
            "--port",
            self.port,
            "--bind",
            HOST,
            "--dir",
            self.folder,
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        if self._password is not None:
            options += ["--requirepass", self._password]
        return [program, *map(str, options)]

    def ready(self) -> bool:
        return self.ask("PING").startswith((b"+PONG", b"-NOAUTH"))

    def empty(self) -> None:
        """Forget everything: data, scripts, and who was named what."""
        for command in ("FLUSHALL", "SCRIPT FLUSH"):
            assert self.ask(command).startswith(b"+OK")

    def ask(self, command: str) -> bytes:
        """The beginning of the answer to one command; nothing if nobody answers."""
        login = f"AUTH {self._password}\r\n" if self._password is not None and command != "PING" else ""
        try:
            with socket.create_connection((HOST, self.port), timeout=PATIENCE) as connection:
                connection.sendall(f"{login}{command}\r\n".encode())
                return connection.recv(1024).removeprefix(b"+OK\r\n" if login else b"")
        except OSError:
            return b""


class PostgresServer(Program):
    """A cluster that is safe against `kill`, not against a power cut of the machine: that would cost time."""

    def __init__(self) -> None:
        super().__init__("postgres" if os.geteuid() == 0 else None)
        self._password = secrets.token_hex(8)
        self._initialize()

    def url(self, database: str) -> str:
        """For a database; the role may do everything."""
        return f"postgresql://{ROLE}:{self._password}@{HOST}:{self.port}/{database}"

    def command(self) -> Sequence[str | Path]:
        settings = {
            "port": self.port,
            "listen_addresses": HOST,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": 200,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [_postgres("postgres"), "-D", self.folder / "data", *options]

    def ready(self) -> bool:
        return self._psql("SELECT 1").returncode == 0

    def create(self, database: str) -> str:
        """Makes an empty database; returns its URL."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Removes a database, whoever uses it."""
        self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """What ``psql`` prints for a statement, without ornaments."""
        done = self._psql(statement, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _psql(self, statement: str, database: str = "postgres") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_postgres("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def _initialize(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        program, data = _postgres("initdb"), self.folder / "data"
        options = ["-U", ROLE, "-A", "scram-sha-256", f"--pwfile={password_file}", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [program, "-D", data, "--no-sync", *options],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            stdout=subprocess.DEVNULL,
            # The current folder may be one that the user cannot see.
            cwd=self.folder,
            check=True,
        )


def _postgres(program: str) -> Path:
    folder = installed.postgresql_programs()
    assert folder is not None, "PostgreSQL is missing; `make test` installs it"
    return folder / program


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _postgres_cluster() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """A Redis that is up and empty."""
    _redis.start()
    _redis.empty()
    return _redis


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Where an empty Redis is."""
    return redis_server.url


@pytest.fixture
def postgres_server(_postgres_cluster: PostgresServer) -> PostgresServer:
    """A PostgreSQL that is up."""
    _postgres_cluster.start()
    return _postgres_cluster


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Where a fresh, empty database is: ``postgresql://role:password@host:port/name``."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres_server.create(name)
    postgres_server.start()
    postgres_server.drop(name)
