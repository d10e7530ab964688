"""Name servers are asked over the network: here by one that the test is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from mail_service.verifying.resolver import DnsAway, DnsResolver
from servers import HOST

RECORDS = {"long.people.test.": '"v=DKIM1; " "p=abc"', "plain.people.test.": '"v=DMARC1; p=none"'}


class NameServer(asyncio.DatagramProtocol):
    """Knows the table, refuses ``refused`` and says nothing about ``silent``."""

    asked = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        reply = dns.message.make_response(query)
        if name.startswith("silent"):
            return
        if name.startswith("refused"):
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name in RECORDS:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", RECORDS[name]))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(reply.to_wire(), addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, DnsResolver]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=(HOST, 0))
    try:
        yield server, DnsResolver((HOST,), transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


async def test_records_are_put_together_and_remembered() -> None:
    async with name_server() as (server, resolver):
        assert await resolver.txt("long.people.test") == (b"v=DKIM1; p=abc",)
        assert await resolver.txt("plain.people.test") == (b"v=DMARC1; p=none",)
        assert await resolver.txt("nobody.people.test") == ()
        asked = server.asked
        assert await resolver.txt("plain.people.test") == (b"v=DMARC1; p=none",)
        assert server.asked == asked


async def test_no_answer_is_not_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mail_service.verifying.resolver.SECONDS", 0.3)
    async with name_server() as (_, resolver):
        for name in ("silent.people.test", "refused.people.test"):
            with pytest.raises(DnsAway):
                await resolver.txt(name)


@pytest.mark.parametrize("name", ["", "x" * 300, "a..b.test", "x" * 70 + ".test", "\udcff.test", "a b.test"])
async def test_names_that_are_none_have_no_records(name: str) -> None:
    async with name_server() as (_, resolver):
        assert await resolver.txt(name) == ()
