"""The description of the API at /openapi.json.

The routes read their bodies themselves, because FastAPI's reading takes NaN and answers 422. So
the schemas of the bodies are put into the description here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ai_core.api.adapter_requests import AdapterBody
from ai_core.api.admin_requests import KeyBody, RotationBody
from ai_core.api.batch_requests import BatchLine
from ai_core.api.completion_requests import CompletionBody
from ai_core.api.description.document import REFERENCE, complete
from ai_core.api.embedding_requests import EmbeddingsBody
from ai_core.api.native_requests import ChatBody, GenerateBody
from ai_core.api.openai_requests import ChatCompletionBody
from ai_core.api.pull_requests import PullBody
from ai_core.api.residency_requests import LoadBody, UnloadBody
from ai_core.api.route_access import DeclaredRoute
from ai_core.api.transcription_form import TranscriptionBody

BODIES: tuple[type[BaseModel], ...] = (
    ChatBody,
    GenerateBody,
    ChatCompletionBody,
    CompletionBody,
    EmbeddingsBody,
    TranscriptionBody,
    BatchLine,
    KeyBody,
    RotationBody,
    LoadBody,
    UnloadBody,
    PullBody,
    AdapterBody,
)


def takes(shape: type[BaseModel], media_type: str = "application/json") -> dict[str, Any]:
    """A route's extra description: the shape of its body."""
    reference = {"$ref": REFERENCE.format(model=shape.__name__)}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": reference}}}}


def describe(app: FastAPI, key_header: str, routes: Iterable[DeclaredRoute]) -> dict[str, Any]:
    """The whole description, made once; ``routes`` say which of them need no key."""
    if app.openapi_schema is None:
        description = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, bodies = models_json_schema([(shape, "validation") for shape in BODIES], ref_template=REFERENCE)
        description.setdefault("components", {})
        _describe_keys(description, key_header, routes)
        complete(description, bodies["$defs"])
        app.openapi_schema = description
    return app.openapi_schema


def _describe_keys(description: dict[str, Any], key_header: str, routes: Iterable[DeclaredRoute]) -> None:
    description["components"]["securitySchemes"] = {
        "ApiKey": {
            "type": "apiKey",
            "in": "header",
            "name": key_header,
            "description": "An API key: neo_<id>_<secret>.",
        },
        "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
    }
    description["security"] = [{"ApiKey": []}, {"Bearer": []}]
    for route in routes:
        if route.access.public:
            for operation in description["paths"].get(route.path, {}).values():
                operation["security"] = []
