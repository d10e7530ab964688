"""Name servers, behind a port of one method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver

SECONDS = 5.0
"""For one question, with its repetitions."""
LONGEST_NAME = 253


class DnsAway(Exception):
    """No name server answered, or it could not say: asking later makes sense."""


class Resolver(Protocol):
    """Asks for TXT records."""

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """All records of that name, each in one piece; nothing where there are none. Raises DnsAway."""


class DnsResolver:
    """Asks the name servers of this machine, or those that are given."""

    def __init__(self, servers: tuple[str, ...] = (), port: int = 53) -> None:
        """Raises DnsAway where this machine knows of no name server.

        Args:
            servers: addresses; nothing: those in /etc/resolv.conf.
        """
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            raise DnsAway("no name server is configured") from error
        if servers:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port
        self._resolver.cache = dns.resolver.LRUCache(2_000)

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """See :class:`Resolver`."""
        if not 0 < len(name) <= LONGEST_NAME:
            return ()
        try:
            answer = await self._resolver.resolve(name, "TXT", lifetime=SECONDS, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.Timeout, dns.resolver.NoNameservers, OSError) as error:
            raise DnsAway("a name server does not answer") from error
        except (dns.exception.DNSException, UnicodeError, ValueError):
            # No name that could be asked for.
            return ()
        return tuple(b"".join(record.strings) for record in answer)


class KnownRecords:
    """Answers from a table: where there is no network, and in tests."""

    def __init__(self, records: Mapping[str, bytes | tuple[bytes, ...]]) -> None:
        self._records = {name.lower().rstrip("."): value for name, value in records.items()}

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """See :class:`Resolver`."""
        found = self._records.get(name.lower().rstrip("."), ())
        return found if isinstance(found, tuple) else (found,)
