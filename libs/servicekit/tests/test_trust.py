"""An AI core behind TLS, with a certificate that no public authority has signed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.ai_core.client import AiCore
from servicekit.ai_core.errors import Unreachable
from servicekit.ai_core.trust import CertificateFile
from servicekit.settings import ServiceSettings, SettingsError

HOST = "127.0.0.1"
ALIVE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
)


class Settings(ServiceSettings):
    """Of some channel."""

    ai_api_ca_file: CertificateFile | None = None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=IP:{HOST}"),
            *("-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "fullchain.pem"


@pytest.fixture
async def url(certificate: Path) -> AsyncIterator[str]:
    """Of an AI core that is alive, and says no more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ALIVE)
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("privkey.pem"))
    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def test_it_is_believed_where_the_operator_names_its_authority(url: str, certificate: Path) -> None:
    settings = Settings.load({"AI_API_CA_FILE": str(certificate)})
    async with AiCore(url, ca_file=settings.ai_api_ca_file) as ai_core:
        assert await ai_core.ping() > 0


async def test_it_is_not_believed_otherwise(url: str) -> None:
    async with AiCore(url) as ai_core:
        with pytest.raises(Unreachable):
            await ai_core.ping()


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_a_file_without_certificates_is_told_before_anything_starts(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        Settings.load({"AI_API_CA_FILE": str(path)})
    assert caught.value.lines == ("AI_API_CA_FILE: expected a file that holds certificates (PEM).",)
