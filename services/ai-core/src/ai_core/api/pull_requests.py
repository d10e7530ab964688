"""What the route takes that fetches models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ai_core.api.json_body import JsonObject


class PullBody(JsonObject):
    """A model that shall be fetched from the hub."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
