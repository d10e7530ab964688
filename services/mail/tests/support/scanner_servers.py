"""Real scanners for tests: clamd, SpamAssassin's spamd and rspamd, each with its test string."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from mail_service.scanning.clamd import Clamd
from mail_service.scanning.port import ScannerAway
from mail_service.scanning.spamd import Spamd
from servers import HOST, Program
from workspace_setup import servers as installed
from workspace_setup.system import CLAMAV, RSPAMD, SPAMD

# https://www.eicar.org/download-anti-malware-testfile/, not as it stands: virus scanners of those who work on
# this file would take it away.
EICAR = base64.b64decode("WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FS") + (
    b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
)
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""https://spamassassin.apache.org/gtube/"""

_CLAMD = """DatabaseDirectory {folder}/db
TCPSocket {port}
TCPAddr {host}
Foreground yes
MaxThreads 2
StreamMaxLength 1M
SelfCheck 3600
"""
_RSPAMD = """options {{
  pidfile = "{folder}/rspamd.pid"; dbdir = "{folder}"; rundir = "{folder}"; cachedir = "{folder}";
  url_tld = "{folder}/endings.dat";
  control_socket = "{folder}/control.sock mode=0600";
  dns {{ nameserver = ["{host}:9"]; timeout = 0.1s; retransmits = 1; }}
  filters = "regexp";
  gtube_patterns = "all";
}}
logging {{ type = "console"; level = "notice"; }}
worker "normal" {{ bind_socket = "{host}:{port}"; count = 1; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
"""


class Scanning(Program):
    """A scanner that drops root, where it has it."""

    def __init__(self, what: str) -> None:
        super().__init__("mail" if os.geteuid() == 0 else None)
        found = installed.SERVERS[what]()
        assert found is not None, f"{what} is missing; `make test` installs it"
        self._program = found

    def _write(self, name: str, template: str) -> Path:
        path = self.folder / name
        path.write_text(template.format(folder=self.folder, host=HOST, port=self.port))
        path.chmod(0o644)
        return path


class ClamdServer(Scanning):
    """It knows one virus."""

    def __init__(self) -> None:
        super().__init__(CLAMAV)
        database = self.folder / "db"
        database.mkdir()
        (database / "eicar.ndb").write_text(f"Test.Eicar:0:*:{EICAR.hex()}\n")
        self._settings = self._write("clamd.conf", _CLAMD)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def command(self) -> Sequence[str | Path]:
        return [self._program, "-c", self._settings]

    def ready(self) -> bool:
        return _answers(Clamd(self.address))


class SpamdServer(Scanning):
    """SpamAssassin with its own rules, and no network."""

    def __init__(self) -> None:
        super().__init__(SPAMD)

    def command(self) -> Sequence[str | Path]:
        place = [f"--listen={HOST}:{self.port}", f"--helper-home-dir={self.folder}", "--syslog=stderr"]
        return [self._program, "--local", "--max-children=1", "--nouser-config", *place]

    def ready(self) -> bool:
        return _answers(Spamd(HOST, self.port))


class RspamdServer(Scanning):
    """It has no rules but the test's."""

    def __init__(self) -> None:
        super().__init__(RSPAMD)
        # The real list takes it ten seconds to compile.
        self._write("endings.dat", "com\nfr\ntest\n")
        self._settings = self._write("rspamd.conf", _RSPAMD)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def command(self) -> Sequence[str | Path]:
        return [self._program, "-f", "-i", "-c", self._settings]

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ping", timeout=5).text.startswith("pong")
        except httpx.HTTPError:
            return False


def _answers(scanner: Clamd | Spamd) -> bool:
    # Asked from fixtures, where a loop of the test's own may be running in this thread.
    found: list[bool] = []

    def ask() -> None:
        import asyncio

        try:
            asyncio.run(scanner.ping())
        except ScannerAway:
            return
        found.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return bool(found)


@pytest.fixture(scope="session")
def _clamd() -> Iterator[ClamdServer]:
    server = ClamdServer()
    yield server
    server.close()


@pytest.fixture
def clamd_server(_clamd: ClamdServer) -> ClamdServer:
    """A clamd that is up."""
    _clamd.start()
    return _clamd


@pytest.fixture(scope="session")
def spamd_server() -> Iterator[SpamdServer]:
    """A spamd that is up."""
    server = SpamdServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def rspamd_server() -> Iterator[RspamdServer]:
    """An rspamd that is up."""
    server = RspamdServer()
    server.start()
    yield server
    server.close()
