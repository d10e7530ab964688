"""Keys for tests, in a real database.

``edge_server.Server.client`` carries a key with every scope and no limits; ``anonymous`` carries
none, and ``new_key(...)`` makes further ones. ``ai_core_service.Server`` sends the local key that
`ai-core serve` made at its start.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ai_core.access.administration import local_wish
from ai_core.access.assembly import Access, access_over
from ai_core.access.keys import PresentedKey, new_key
from ai_core.config import Settings
from ai_core.storage.database import Database
from ai_core.storage.migrations import upgrade
from servicekit.storage.database import database_url

KEY: PresentedKey = new_key()
"""Every scope, no limits, fair by user."""
HEADERS = {"X-API-Key": str(KEY)}
HEADER_LINE = f"X-API-Key: {KEY}\r\n"
"""For who speaks HTTP by hand."""

_template: bytes | None = None


async def open_access(folder: Path) -> Access:
    """Access over a fresh database in a folder, which knows :data:`KEY`. Close its ``database`` after use."""
    global _template  # noqa: PLW0603 - migrating a database for each test would take longer than the tests
    path = folder / "ai-core.db"
    if _template is None:
        await _fill(f"sqlite:///{path}")
        _template = path.read_bytes()
    path.write_bytes(_template)
    return _over(f"sqlite:///{path}")


async def _fill(address: str) -> None:
    await upgrade(database_url(address))
    access = _over(address)
    await access.keys.create(local_wish(), KEY)
    await access.database.close()


def _over(address: str) -> Access:
    return access_over(Database(database_url(address)), Settings.load({}))


@asynccontextmanager
async def temporary_access(address: str | None = None) -> AsyncIterator[Access]:
    """Access over a database that is gone afterwards, or over an empty one that is given."""
    with tempfile.TemporaryDirectory(prefix="neo-test-") as folder:
        if address is None:
            access = await open_access(Path(folder))
        else:
            await _fill(address)
            access = _over(address)
        try:
            yield access
        finally:
            await access.database.close()
