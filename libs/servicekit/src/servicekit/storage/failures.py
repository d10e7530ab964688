"""Which errors of the drivers mean that the database cannot be used just now."""

from __future__ import annotations

import sqlite3

import asyncpg
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

# While a connection is made, SQLAlchemy lets the drivers' own errors through.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    PoolTimeout,
    DBAPIError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)
OURS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
"""What a statement of ours has done wrong."""


def means_unavailable(error: BaseException) -> bool:
    """Whether trying again later can help."""
    return isinstance(error, UNAVAILABLE) and not isinstance(error, OURS)


def is_lost_connection(error: BaseException) -> bool:
    """Whether the server is gone, as opposed to busy."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return not isinstance(error, PoolTimeout | sqlite3.Error)
