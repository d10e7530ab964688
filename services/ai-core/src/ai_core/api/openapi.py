"""The description of the API at /openapi.json.

The routes read their bodies themselves, because FastAPI's reading takes NaN and answers 422. So
the schemas of the bodies are put into the description here.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ai_core.api.native_requests import ChatBody, GenerateBody
from ai_core.api.openai_requests import ChatCompletionBody

REFERENCE = "#/components/schemas/{model}"
BODIES: tuple[type[BaseModel], ...] = (ChatBody, GenerateBody, ChatCompletionBody)


def takes(shape: type[BaseModel]) -> dict[str, Any]:
    """A route's extra description: the shape of its body."""
    reference = {"$ref": REFERENCE.format(model=shape.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole description, made once."""
    if app.openapi_schema is None:
        description = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, bodies = models_json_schema([(shape, "validation") for shape in BODIES], ref_template=REFERENCE)
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(bodies.get("$defs", {}))
        app.openapi_schema = description
    return app.openapi_schema
