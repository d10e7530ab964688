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


class RefusedByDatabase(Exception):
    """In the place of a driver's error, whose text holds values: PostgreSQL tells the key that is missing."""


def without_values(error: DBAPIError) -> DBAPIError:
    """The same for a log: which statement was wrong and how, and nothing of what it was about."""
    # The driver's class says what was wrong: ForeignKeyViolationError, UniqueViolationError.
    cause = getattr(error.orig, "__cause__", None) or error.orig
    wordless = RefusedByDatabase(type(cause).__name__)
    plain = type(error)(error.statement, None, wordless, hide_parameters=True)
    return plain.with_traceback(error.__traceback__)


def means_unavailable(error: BaseException) -> bool:
    """Whether trying again later can help."""
    return isinstance(error, UNAVAILABLE) and not isinstance(error, OURS)


def is_about_values(error: DBAPIError) -> bool:
    """Whether the database works, and refuses what it is given: too long, too large, there already."""
    # Of PostgreSQL, SQLAlchemy knows only part of these classes (PostgreSQL, "Error Codes": data exception,
    # integrity constraint violation, program limit exceeded).
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, IntegrityError | DataError) or state[:2] in {"22", "23", "54"}


def is_lost_connection(error: BaseException) -> bool:
    """Whether the server is gone, as opposed to busy."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return not isinstance(error, PoolTimeout | sqlite3.Error)
