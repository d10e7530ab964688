"""Asks name servers, and this machine: where it is, and with which key its mails are signed."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from domains.records import (
    MAILSERVER_SELECTOR,
    Finding,
    Record,
    Settings,
    State,
    judged,
    mail_domain,
)

SECONDS = 5.0
"""For one question, with its repetitions."""


class NoAnswer(Exception):
    """No name server could say."""


class Resolver(Protocol):
    """Asks."""

    def ask(self, name: str, kind: str) -> list[str]:
        """The values, as text; nothing where there are none. Raises NoAnswer."""


def findings(records: Iterable[Record], resolver: Resolver) -> list[Finding]:
    """Ask for all of them, at once: a name server that is away keeps nobody waiting for each."""

    def finding(record: Record) -> Finding:
        try:
            found = resolver.ask(record.name, record.kind)
        except NoAnswer:
            return Finding(record, State.UNKNOWN, [])
        return Finding(record, judged(record, found), found)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(finding, records))


class DnsResolver:
    """Asks the name servers of this machine, or one that is given."""

    def __init__(self, server: str = "") -> None:
        """``server``: ``address:port``. Raises NoAnswer where none is configured, or dnspython is missing."""
        try:
            import dns.exception
            import dns.resolver
        except ImportError:
            raise NoAnswer("dnspython is missing: install python3-dnspython, or make run once") from None
        try:
            self._resolver = dns.resolver.Resolver(configure=not server)
        except dns.resolver.NoResolverConfiguration:
            raise NoAnswer("this machine knows of no name server: see /etc/resolv.conf") from None
        if server:
            address, _, port = server.rpartition(":")
            self._resolver.nameservers, self._resolver.port = [address], int(port)
        self._resolver.cache = None
        self._none = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)
        self._away = (dns.exception.DNSException, OSError, UnicodeError, ValueError)

    def ask(self, name: str, kind: str) -> list[str]:
        """See :class:`Resolver`."""
        try:
            answer = self._resolver.resolve(name, kind, lifetime=SECONDS, search=False)
        except self._none:
            return []
        except self._away as error:
            raise NoAnswer(type(error).__name__) from None
        if kind == "TXT":
            return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
        return [record.to_text() for record in answer]


def read_settings(path: Path) -> dict[str, str]:
    """The names and values of a .env file; empty ones are left out. Raises OSError."""
    lines = path.read_text("utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if re.match(r"[A-Z][A-Z0-9_]*=.", line)]
    return {name: value.strip().strip("'\"") for name, _, value in pairs if value.strip()}


def own_addresses() -> list[str]:
    """With which this machine goes out by IPv4, as far as it is its own and public."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent: the system only chooses where it would go out.
            sock.connect(("192.0.2.1", 53))
        except OSError:
            return []
        address = str(sock.getsockname()[0])
    return [address] if ip_address(address).is_global else []


def dkim_record(settings: Settings, root: Path) -> str:
    """The text of the DKIM record, from the service's key or docker-mailserver's; empty: there is none yet.

    Raises:
        ValueError: the key cannot be read; the text says why.
    """
    if settings.get("DKIM_KEY_PATH"):
        path = root / settings["DKIM_KEY_PATH"]
        done = subprocess.run(
            ["openssl", "rsa", "-in", str(path), "-pubout", "-outform", "PEM"],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            raise ValueError(f"DKIM_KEY_PATH: {path} holds no RSA key that can be read")
        return f"v=DKIM1; k=rsa; p={''.join(done.stdout.split('-----')[2].split())}"
    domain = mail_domain(settings)
    made = root / "deploy/mailserver"
    for path in (
        made / f"opendkim/keys/{domain}/{MAILSERVER_SELECTOR}.txt",
        *made.glob(f"rspamd/dkim/*-{MAILSERVER_SELECTOR}-{domain}.public.dns.txt"),
    ):
        if path.is_file():
            text = path.read_text("utf-8")
            return " ".join("".join(re.findall(r'"([^"]*)"', text) or [text]).split())
    return ""
