"""What the routes under /api/v1/admin/keys take."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ai_core.access.administration import MAX_GRACE, KeyWish
from ai_core.access.caller import KeyLimits, PriorityClass, Scope
from ai_core.api.json_body import JsonObject

MAX_ENTRIES = 256


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError(
            "out_of_range", "Value should be a time between the years 1 and 9999"
        ) from None


def _as_text(value: Any) -> Any:
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        return value
    raise PydanticCustomError("moment", "Value should be a time like 2030-01-31T12:00:00Z")


Moment = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_in_utc), BeforeValidator(_as_text)]
ScopeName = Annotated[Scope, Field(strict=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[list[Name], Field(max_length=MAX_ENTRIES)]


class KeyBody(JsonObject):
    """A key that is to be made. A limit of 0 is none."""

    name: Name
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=len(Scope))]
    requests_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Left out: RATE_LIMIT_PER_MINUTE."""
    tokens_per_minute: Annotated[int, Field(ge=0, le=10**12)] | None = None
    tokens_per_day: Annotated[int, Field(ge=0, le=10**12)] | None = None
    concurrent_requests: Annotated[int, Field(ge=0, le=100_000)] | None = None
    allowed_models: Names | None = None
    default_model: Name | None = None
    networks: Names | None = None
    priority: Literal["batch", "normal", "high"] | None = None
    fair_by_user: bool | None = None
    expires_at: Moment | None = None

    def to_wish(self, default_per_minute: int) -> KeyWish:
        """The key that this means; ``default_per_minute`` 0: no limit."""
        per_minute = default_per_minute if self.requests_per_minute is None else self.requests_per_minute
        return KeyWish(
            name=self.name,
            scopes=frozenset(self.scopes),
            limits=KeyLimits(
                requests_per_minute=per_minute or None,
                tokens_per_minute=self.tokens_per_minute or None,
                tokens_per_day=self.tokens_per_day or None,
                concurrent_requests=self.concurrent_requests or None,
            ),
            allowed_models=self.allowed_models or (),
            default_model=self.default_model,
            networks=self.networks or (),
            priority=PriorityClass[(self.priority or "normal").upper()],
            fair_by_user=bool(self.fair_by_user),
            expires_at=self.expires_at,
        )


class RotationBody(JsonObject):
    """How a key is rotated."""

    grace_seconds: Annotated[int, Field(ge=0, le=int(MAX_GRACE.total_seconds()))] | None = None
    """How long the old secret goes on working; left out: it ends at once."""

    @property
    def grace(self) -> timedelta:
        """The same, as a duration."""
        return timedelta(seconds=self.grace_seconds or 0)
