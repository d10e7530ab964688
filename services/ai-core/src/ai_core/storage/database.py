"""This service's database, whose failures are errors of this service."""

from __future__ import annotations

from sqlalchemy import URL

import servicekit.storage.database as shared
from ai_core.errors import StorageUnavailable


class Database(shared.Database):
    """As the one of servicekit; while it is away, callers are told so with a 503."""

    def __init__(self, url: URL, *, command_seconds: float = shared.COMMAND_SECONDS) -> None:
        """``command_seconds`` bounds each statement, waiting for other writers included.

        Raises:
            DatabaseAddressError: an SQLite file cannot be made or written.
        """
        super().__init__(url, command_seconds=command_seconds, unavailable=StorageUnavailable)
