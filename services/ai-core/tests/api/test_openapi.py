"""The description of the API is complete, valid, true, and the one that is committed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from ai_core.api.description.answer_fields import ANSWER_FIELDS
from ai_core.api.description.document import example_of, operations
from ai_core.api.description.request_fields import REQUEST_FIELDS
from ai_core.api.description.routes import PARAMETERS, REQUEST_HEADERS, ROUTES
from ai_core.api.errors import STATUS
from edge_server import FakeEngine, Server, echo, running_server
from openapi_file import PATH, current_text

DOCUMENT: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = dict(operations(DOCUMENT))


def parameters(operation: Any) -> list[Any]:
    named = DOCUMENT["components"]["parameters"]
    given = operation.get("parameters", ())
    return [named[one["$ref"].split("/")[-1]] if "$ref" in one else one for one in given]


def valid(schema: Any, value: Any) -> None:
    whole = {"components": {"schemas": SCHEMAS}} | {"allOf": [schema]}
    jsonschema.Draft202012Validator(whole).validate(value)


def fields() -> Iterator[tuple[str, str, Any]]:
    for name, schema in SCHEMAS.items():
        for field_name, field in schema.get("properties", {}).items():
            yield name, field_name, field


async def test_the_committed_file_is_what_the_server_says() -> None:
    assert PATH.read_text(encoding="utf-8") == await current_text(), "`make openapi` renews it"


def test_every_shape_is_valid_json_schema() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = re.findall(r'"\$ref": "#/components/(\w+)/([^"]+)"', json.dumps(DOCUMENT))
    assert len(references) > 100
    assert [one for one in references if one[1] not in DOCUMENT["components"][one[0]]] == []


def test_every_field_has_words_and_an_example_that_fits() -> None:
    count = 0
    for name, field_name, field in fields():
        assert field.get("description"), f"{name}.{field_name} has no description"
        assert len(field["examples"]) == 1, f"{name}.{field_name} has no example"
        valid(field, field["examples"][0])
        count += 1
    assert count > 150
    assert all(schema.get("description") for schema in SCHEMAS.values())


def test_no_words_are_left_over() -> None:
    used = {name for one, field, _ in fields() for name in (field, f"{one}.{field}")}
    assert (REQUEST_FIELDS.keys() | ANSWER_FIELDS.keys()) - used == set()
    assert ROUTES.keys() == OPERATIONS.keys()
    named = {one["name"] for operation in OPERATIONS.values() for one in parameters(operation)}
    assert PARAMETERS.keys() | REQUEST_HEADERS.keys() == named


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_route_says_what_it_takes_and_gives(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    for parameter in parameters(operation):
        assert parameter["description"]
        valid(parameter["schema"], parameter["schema"]["examples"][0])
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        examples = content.get("examples", {})
        assert examples or media_type != "application/json"
        for example in examples.values():
            valid(content["schema"], example["value"])
    statuses = set(operation["responses"])
    keyed = operation.get("security") != []
    assert {"400", "500"} <= statuses
    assert not keyed or {"401", "403", "429", "503"} <= statuses
    assert statuses <= {str(status) for status in STATUS.values()} | {"200", "201", "204"}
    for status, response in operation["responses"].items():
        assert response["description"]
        assert response["headers"]["X-Request-ID"]
        for content in response.get("content", {}).values():
            if "example" in content:
                valid(content["schema"], content["example"])
        assert (status == "204") is not bool(response.get("content"))


def test_every_status_that_errors_have_is_documented_somewhere() -> None:
    documented = {status for operation in OPERATIONS.values() for status in operation["responses"]}
    # 405 is no answer of a route.
    assert {str(status) for status in STATUS.values()} - {"405"} <= documented


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_an_example_of_a_whole_shape_fits(name: str) -> None:
    if SCHEMAS[name].get("type") == "object" and name != "TranscriptionBody":
        valid({"$ref": f"#/components/schemas/{name}"}, example_of(name, SCHEMAS))


def documented(method: str, path: str, status: int, media_type: str) -> Any:
    """The schema of an answer."""
    response = OPERATIONS[f"{method} {path}"]["responses"][str(status)]
    return response["content"][media_type]["schema"]


@pytest.fixture
async def server() -> Any:
    async with running_server(FakeEngine(script=echo)) as running:
        yield running


ASKED: list[tuple[str, str, Any]] = [
    ("POST", "/api/v1/chat", {"prompt": "Bonjour !"}),
    ("POST", "/api/v1/chat", {"prompt": "Bonjour !", "reasoning": True, "temperature": 0}),
    ("POST", "/api/v1/chat", {"prompt": "Bonjour !", "email_context": {"subject": "x", "thread_id": "1"}}),
    ("POST", "/api/v1/chat", {"prompt": "Bonjour !", "email_context": {}}),
    ("POST", "/api/v1/generate", {"prompt": "Bonjour !"}),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "n": 2}),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "reasoning": True}),
    ("POST", "/v1/completions", {"prompt": ["a", "b"]}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/{name}", None),
    ("GET", "/api/v1/models", None),
    ("GET", "/api/v1/health", None),
    ("GET", "/livez", None),
    ("GET", "/readyz", None),
    ("GET", "/api/v1/usage", None),
    ("POST", "/api/v1/admin/keys", {"name": "x", "scopes": ["generate"], "expires_at": "2090-01-01T00:00Z"}),
    ("GET", "/api/v1/admin/keys", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
async def test_what_is_sent_has_the_documented_shape(
    server: Server, method: str, path: str, body: Any
) -> None:
    for _ in range(2):
        response = await server.client.request(method, path.replace("{name}", "fake-model"), json=body)
        media_type = response.headers["content-type"]
        assert response.status_code < 400, response.text
        valid(documented(method, path, response.status_code, media_type), response.json())


async def test_keys_have_the_documented_shape_all_their_life(server: Server) -> None:
    key_id = (await server.new_key()).split("_")[1]
    base = "/api/v1/admin/keys/{key_id}"
    for method, path, body in (
        ("GET", base, None),
        ("POST", base + "/rotate", {"grace_seconds": 5}),
        ("DELETE", base, None),
        ("GET", base, None),
    ):
        response = await server.client.request(method, path.replace("{key_id}", key_id), json=body)
        valid(documented(method, path, 200, "application/json"), response.json())


async def test_conversations_have_the_documented_shape(server: Server) -> None:
    await server.chat(prompt="Bonjour !", session_id="one")
    for path in ("/api/v1/sessions", "/api/v1/sessions/{session_id}"):
        response = await server.client.get(path.replace("{session_id}", "one"))
        valid(documented("GET", path, 200, "application/json"), response.json())
    assert (await server.client.delete("/api/v1/sessions/one")).content == b""


async def test_a_batch_has_the_documented_shape_all_its_life(server: Server) -> None:
    base = "/api/v1/batches"
    line = b'{"custom_id": "1", "url": "/api/v1/chat", "body": {"prompt": "Bonjour !"}}\n'
    made = await server.raw(line, base, **{"content-type": "application/jsonl"})
    valid(documented("POST", base, 201, "application/json"), made.json())
    for method, path in (
        ("GET", ""),
        ("GET", "/{batch_id}"),
        ("POST", "/{batch_id}/cancel"),
        ("GET", "/{batch_id}"),
        ("DELETE", "/{batch_id}"),
    ):
        response = await server.client.request(method, base + path.replace("{batch_id}", made.json()["id"]))
        assert response.status_code == 200
        valid(documented(method, base + path, 200, "application/json"), response.json())


async def test_errors_have_the_documented_shape(server: Server) -> None:
    for method, path, body, status in (
        ("POST", "/api/v1/chat", {}, 400),
        ("POST", "/api/v1/chat", {"prompt": "x", "model": "none"}, 404),
        ("GET", "/v1/models/{name}", None, 404),
        ("POST", "/v1/audio/transcriptions", None, 501),
    ):
        response = await server.client.request(method, path.replace("{name}", "none"), json=body)
        assert response.status_code == status
        valid(documented(method, path, status, "application/json"), response.json())
        assert response.headers["x-request-id"]
    refused = await server.anonymous.get("/api/v1/models")
    valid(documented("GET", "/api/v1/models", 401, "application/json"), refused.json())


async def test_an_embedding_has_the_documented_shape(server: Server) -> None:
    for encoding in ("float", "base64"):
        server.engine.script = lambda answer: answer.embed([0.6, 0.8])
        body = {"model": "fake-model", "input": "x", "encoding_format": encoding}
        response = await server.client.post("/v1/embeddings", json=body)
        valid(documented("POST", "/v1/embeddings", 200, "application/json"), response.json())
