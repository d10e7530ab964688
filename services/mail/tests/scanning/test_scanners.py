"""Scanners are asked over their own protocols; who does not answer lets the mail wait."""

import asyncio
import contextlib
import io
import zipfile
from collections.abc import AsyncIterator
from email.message import EmailMessage

import httpx
import pytest

from mail_service.deciding.facts import Scan
from mail_service.scanning import port
from mail_service.scanning.clamd import Clamd
from mail_service.scanning.lines import Place
from mail_service.scanning.rspamd import Rspamd
from mail_service.scanning.spamd import Spamd
from scanner_servers import EICAR, GTUBE, ClamdServer, RspamdServer, SpamdServer
from servers import HOST


def a_mail(text: str, file: bytes | None = None) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "anne@people.test", "neo@example.test", "Une question"
    mail["Message-ID"], mail["Date"] = "<1@people.test>", "Sat, 21 Nov 2026 20:00:00 +0100"
    mail.set_content(text)
    if file is not None:
        mail.add_attachment(file, maintype="application", subtype="octet-stream", filename="contrat.pdf")
    return mail.as_bytes()


QUESTION = a_mail("Bonjour, combien de jours de congés payés ai-je par mois travaillé ?")


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("document.txt", content)
    return packed.getvalue()


async def test_clamd_finds_a_virus_in_an_attachment_and_in_an_archive(clamd_server: ClamdServer) -> None:
    clamd = Clamd(clamd_server.address)
    assert await clamd.scan(a_mail("Voici.", EICAR)) is Scan.FOUND
    assert await clamd.scan(a_mail("Voici.", zipped(EICAR))) is Scan.FOUND
    assert await clamd.scan(a_mail("Voici.", zipped(b"un contrat"))) is Scan.CLEAN
    assert await clamd.scan(QUESTION) is Scan.CLEAN
    assert await clamd.ping() < port.TIMEOUT


async def test_what_clamd_refuses_to_look_at_waits(clamd_server: ClamdServer) -> None:
    assert await Clamd(clamd_server.address).scan(b"x" * 3_000_000) is Scan.AWAY


async def test_mail_waits_while_clamd_is_away(clamd_server: ClamdServer) -> None:
    clamd = Clamd(clamd_server.address)
    clamd_server.kill()
    assert await clamd.scan(QUESTION) is Scan.AWAY
    with pytest.raises(port.ScannerAway):
        await clamd.ping()
    clamd_server.start()
    assert await clamd.scan(QUESTION) is Scan.CLEAN


async def test_spamd_knows_the_test_string(spamd_server: SpamdServer) -> None:
    spamd = Spamd(HOST, spamd_server.port)
    assert await spamd.scan(a_mail(GTUBE.decode())) is Scan.FOUND
    assert await spamd.scan(QUESTION) is Scan.CLEAN
    assert await spamd.ping() < port.TIMEOUT


async def test_rspamd_knows_the_test_string(rspamd_server: RspamdServer) -> None:
    async with httpx.AsyncClient() as client:
        rspamd = Rspamd(client, rspamd_server.url)
        assert await rspamd.scan(a_mail(GTUBE.decode())) is Scan.FOUND
        assert await rspamd.scan(QUESTION) is Scan.CLEAN
        assert await rspamd.ping() < port.TIMEOUT


@contextlib.asynccontextmanager
async def saying(reply: bytes) -> AsyncIterator[int]:
    """A server that reads nothing, says this and hangs up."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"stream: OKAY\0",
        b"INSTREAM size limit exceeded. ERROR\0",
        b"SPAMD/1.5 76 Bad header line\r\n\r\n",
        b"SPAMD/1.5 0 EX_OK\r\nContent-length: 2\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"action":"soft reject"}',
        b"\xff" * 2_000_000,
    ],
)
async def test_what_cannot_be_understood_is_no_clearance(reply: bytes) -> None:
    async with saying(reply) as number, httpx.AsyncClient() as client:
        scanners = (
            Clamd(f"{HOST}:{number}"),
            Spamd(HOST, number),
            Rspamd(client, f"http://{HOST}:{number}"),
        )
        assert {await scanner.scan(QUESTION) for scanner in scanners} == {Scan.AWAY}


async def test_a_silent_scanner_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    released = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    monkeypatch.setattr("mail_service.scanning.lines.TIMEOUT", 0.05)
    monkeypatch.setattr("mail_service.scanning.rspamd.TIMEOUT", 0.05)
    server = await asyncio.start_server(serve, HOST, 0)
    number = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient() as client:
        for scanner in (
            Clamd(f"{HOST}:{number}"),
            Spamd(HOST, number),
            Rspamd(client, f"http://{HOST}:{number}"),
        ):
            assert await scanner.scan(QUESTION) is Scan.AWAY
        released.set()


def test_addresses_as_operators_write_them() -> None:
    assert Place.parse("clamav", 3310) == Place("clamav", 3310)
    assert Place.parse("clamav:4000", 3310) == Place("clamav", 4000)
    assert Place.parse("[::1]:4000", 3310) == Place("::1", 4000)
    assert Place.parse("::1", 3310) == Place("::1", 3310)
    assert Place.parse("/run/clamd.sock", 3310).path == "/run/clamd.sock"
