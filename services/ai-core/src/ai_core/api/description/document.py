"""Puts words, examples, answers and errors into an OpenAPI description. Pure: from data to data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from ai_core.api.description.answer_fields import ANSWER_FIELDS
from ai_core.api.description.request_fields import REQUEST_FIELDS, FieldText
from ai_core.api.description.routes import (
    ERROR_EXAMPLES,
    ERRORS,
    KEYED_ERRORS,
    OPEN_ERRORS,
    PARAMETERS,
    REQUEST_HEADERS,
    ROUTES,
    SHAPES,
    STREAM,
    TAGS,
    RouteText,
)
from ai_core.api.errors import error_type

Json = dict[str, Any]
REFERENCE = "#/components/schemas/{model}"
DESCRIPTION = """Language models behind HTTP. Send your key in the header named below or as
`Authorization: Bearer`; every route but the two probes needs one.

Every body is JSON; unknown fields are refused, and `null` means the same as leaving a field out. All errors
have one shape, and `X-Request-ID`, accepted and returned, stands in the server's log.

Beside these routes there is a WebSocket, `/api/v1/ws/chat`; the README of the service describes it."""


def complete(document: Json, request_shapes: Json) -> None:
    """Fill in everything that types do not say. ``request_shapes`` are the schemas of all bodies."""
    document["info"]["description"] = DESCRIPTION
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    _, answers = models_json_schema([(shape, "validation") for shape in SHAPES], ref_template=REFERENCE)
    answer_shapes: Json = answers["$defs"]
    for schema in answer_shapes.values():
        _without_defaults(schema)
    _describe_fields(request_shapes, REQUEST_FIELDS)
    _describe_fields(answer_shapes, ANSWER_FIELDS)
    document["components"]["schemas"] = dict(sorted((request_shapes | answer_shapes).items()))
    document["components"]["headers"] = HEADERS
    document["components"]["parameters"] = REQUEST_HEADERS
    for name, operation in operations(document):
        _describe_operation(operation, ROUTES.get(name), keyed=operation.get("security") != [])


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """All routes by method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def example_of(name: str, schemas: Mapping[str, Any]) -> Any:
    """A value of a shape, made of its fields' examples. What may be left out is."""
    schema = schemas[name]
    required = schema.get("required", ())
    return {field: schema["properties"][field]["examples"][0] for field in required}


def _without_defaults(schema: Json) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


def _describe_fields(schemas: Json, texts: Mapping[str, FieldText]) -> None:
    for name, schema in schemas.items():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].replace("``", "`").split())
        for field_name, field in schema.get("properties", {}).items():
            field.pop("title", None)
            text = texts.get(f"{name}.{field_name}") or texts.get(field_name)
            if text is not None:
                field["description"], field["examples"] = text[0], [text[1]]


def _describe_operation(operation: Json, text: RouteText | None, *, keyed: bool) -> None:
    operation["responses"] = {}
    for parameter in operation.get("parameters", ()):
        words = PARAMETERS.get(parameter["name"])
        if words is not None:
            parameter.setdefault("description", words[0])
            parameter["schema"].pop("title", None)
            # In the schema: the page would put one that stands beside it into each request.
            parameter["schema"]["examples"] = [words[1]]
    if text is None:
        return
    operation["description"] = text.text
    if keyed:
        headers = [{"$ref": f"#/components/parameters/{name}"} for name in REQUEST_HEADERS]
        operation["parameters"] = operation.get("parameters", []) + headers
    if text.examples:
        (body,) = operation["requestBody"]["content"].values()
        body["examples"] = {name: {"value": value} for name, value in text.examples.items()}
    responses = {text.status: _success(text)}
    for status in (*(KEYED_ERRORS if keyed else OPEN_ERRORS), *text.errors):
        responses[status] = _error(status)
    if keyed:
        _add_rate_headers(responses)
    for status, shape in text.also.items():
        content = responses[status]["content"]["application/json"]
        content["schema"] = {"anyOf": [content["schema"], _reference(shape.__name__)]}
    operation["responses"] = {str(status): responses[status] for status in sorted(responses)}


def _add_rate_headers(responses: Mapping[int, Json]) -> None:
    for status, response in responses.items():
        if status not in {401, 403}:
            response["headers"] |= _references(*RATE_HEADERS)


def _success(text: RouteText) -> Json:
    content: Json = {}
    if text.answer is not None:
        content["application/json"] = {"schema": _reference(text.answer.__name__)}
    if text.stream is not None:
        content[STREAM] = {
            "schema": {"description": "Server-sent events, with 'stream': true."},
            "example": text.stream,
        }
    for media_type, example in text.other.items():
        content[media_type] = {"schema": {"type": "string"}, "example": example}
    response = {"description": HTTPStatus(text.status).phrase, "headers": _headers()}
    return response | {"content": content} if content else response


def _error(status: int) -> Json:
    further = ("Retry-After",) if status in {429, 503} else ("WWW-Authenticate",) if status == 401 else ()
    return {
        "description": ERRORS[status],
        "headers": _headers(*further),
        "content": {
            "application/json": {"schema": _reference("ErrorBody"), "example": _error_example(status)}
        },
    }


def _error_example(status: int) -> Json:
    code, message, parameter = ERROR_EXAMPLES[status]
    return {
        "error": {"message": message, "type": error_type(status), "param": parameter, "code": code},
    }


def _reference(name: str) -> Json:
    return {"$ref": REFERENCE.format(model=name)}


def _headers(*further: str) -> Json:
    return _references("X-Request-ID", *further)


def _references(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_PER_MINUTE = "Where the key has a limit of requests per minute: "
RATE_HEADERS: Json = {
    "X-RateLimit-Limit": {
        "description": _PER_MINUTE + "that limit.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 60,
    },
    "X-RateLimit-Remaining": {
        "description": _PER_MINUTE + "how many are left now.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 59,
    },
    "X-RateLimit-Reset": {
        "description": _PER_MINUTE + "seconds until more are left.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
}


HEADERS: Json = {
    "X-Request-ID": {
        "description": "The request's id: the caller's own, or a new one.",
        "schema": {"type": "string"},
        "example": "dee73c1ef4dc4078abe85831bf666c84",
    },
    "Retry-After": {
        "description": "Seconds after which trying again makes sense, where it does.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 3,
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="ai-core"',
    },
} | RATE_HEADERS
