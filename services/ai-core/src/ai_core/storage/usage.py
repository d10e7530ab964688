"""The table of what keys have used, by model and day (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Insert, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ai_core.storage.database import Database
from ai_core.storage.tables import usage_by_day

ROWS_AT_ONCE = 500


class UsageKey(NamedTuple):
    """What one number of usage is about."""

    key_id: str
    day: date
    model: str


@dataclass(frozen=True, slots=True)
class Amount:
    """What was used. ``cached_answers`` of the requests cost no tokens: they were answered from memory."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_answers: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion: what budgets count."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
            self.cached_answers + other.cached_answers,
        )


AMOUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_prompt_tokens", "cached_answers")

_TOKENS = select(
    func.coalesce(func.sum(usage_by_day.c.prompt_tokens + usage_by_day.c.completion_tokens), 0).label(
        "tokens"
    )
).where(usage_by_day.c.key_id == bindparam("key_id"), usage_by_day.c.day == bindparam("day"))


class UsageRepository:
    """Sums that only grow. Every method raises StorageUnavailable when the database is down."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, amounts: Mapping[UsageKey, Amount]) -> None:
        """Add to the sums, all or nothing. Several processes may do so at once."""
        # In one order everywhere: two processes that lock the same rows cannot wait for each other.
        rows = [key._asdict() | asdict(amounts[key]) for key in sorted(amounts)]
        async with self._database.writing() as connection:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                await connection.execute(self._upsert(rows[start : start + ROWS_AT_ONCE]))

    def _upsert(self, rows: list[dict[str, Any]]) -> Insert:
        insert = postgresql.insert if self._database.dialect == "postgresql" else sqlite.insert
        statement = insert(usage_by_day).values(rows)
        return statement.on_conflict_do_update(
            index_elements=[usage_by_day.c.key_id, usage_by_day.c.day, usage_by_day.c.model],
            set_={name: usage_by_day.c[name] + statement.excluded[name] for name in AMOUNTS},
        )

    async def tokens_of_day(self, key_id: str, day: date) -> int:
        """Prompt and completion tokens of one key on one day, as far as they are written."""
        row = await self._database.first(_TOKENS, {"key_id": key_id, "day": day})
        return 0 if row is None else int(row["tokens"])

    async def between(self, key_id: str, first: date, last: date) -> dict[UsageKey, Amount]:
        """What one key has used from one day to another, both included; by day and model."""
        statement = (
            select(usage_by_day)
            .where(usage_by_day.c.key_id == key_id, usage_by_day.c.day.between(first, last))
            .order_by(usage_by_day.c.day, usage_by_day.c.model)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        return {
            UsageKey(row["key_id"], row["day"], row["model"]): Amount(*(row[name] for name in AMOUNTS))
            for row in rows
        }
