"""Column types that mean the same in SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect
from sqlalchemy.types import TypeDecorator

NUMBER_OF = "number of"
"""In a column's ``info``, beside ``"table.column"``: it keeps numbers of rows there, without a foreign key,
because it outlasts them."""


class Moment(TypeDecorator[datetime]):
    """A time with its zone; SQLite would forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From UTC."""
        return value if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value


class Words(TypeDecorator[tuple[str, ...]]):
    """A list of short strings."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> list[str]:
        """As a JSON array."""
        return list(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:
        """From a JSON array."""
        return tuple(value)
