"""The whole API under thousands of generated requests, valid and invalid, with and without a key.

What is checked is what the OpenAPI description promises: no failure of ours, and no status, content
type, header or body that it does not describe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, SerializationContext
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ai_core_service import Server, running

MANY = settings(
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
PROMISES = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]
OPEN = {"/livez", "/readyz"}
NOT_CONFIGURED = 501
"""Said by routes whose other half is somewhere else and not configured here."""


@schemathesis.serializer("application/jsonl", "application/x-ndjson")
def as_lines(_context: SerializationContext, value: Any) -> bytes:
    """Lines of JSON, or whatever else was generated, as it is."""
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def scripted() -> Iterator[Server]:
    """An engine that answers at once."""
    with running(ENGINE_BACKEND="scripted", LOG_LEVEL="warning") as server:
        yield server


@pytest.fixture(scope="module")
def description(scripted: Server) -> BaseSchema:
    return schemathesis.openapi.from_url(scripted.url + "/openapi.json", headers=scripted.headers)


def operations(description: BaseSchema) -> Iterator[Operation]:
    for result in description.get_all_operations():
        assert isinstance(result, Ok), result
        yield result.ok()


def try_all(
    description: BaseSchema, mode: GenerationMode, examples: int, check: Callable[[AnyCase], None]
) -> list[str]:
    """Runs a check on so many generated requests of every operation; returns what failed."""
    failures = []
    for operation in operations(description):
        run = settings(MANY, max_examples=examples)(
            given(case=operation.as_strategy(generation_mode=mode))(check)
        )
        try:
            run()
        except Unsatisfiable:
            # Nothing can be wrong with a request that has no parameters.
            assert mode is GenerationMode.NEGATIVE
        except Exception as error:  # noqa: BLE001
            failures.append(f"{operation.label}: {error}")
    return failures


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("mode", "examples"), [(GenerationMode.POSITIVE, 60), (GenerationMode.NEGATIVE, 60)])
def test_nothing_breaks_the_promises_of_the_description(
    description: BaseSchema, scripted: Server, mode: GenerationMode, examples: int
) -> None:
    def check(case: AnyCase) -> None:
        response = case.call(headers=scripted.headers)
        checks = PROMISES if response.status_code == NOT_CONFIGURED else [*PROMISES, not_a_server_error]
        case.validate_response(response, checks=checks)

    failures = try_all(description, mode, examples, check)
    assert not failures, "\n\n".join(failures)


@pytest.mark.timeout(900)
def test_nobody_gets_in_without_a_valid_key(description: BaseSchema) -> None:
    def check(case: AnyCase) -> None:
        response = case.call(headers={"X-API-Key": "neo_guess_0123456789abcdef"})
        if case.path not in OPEN:
            assert response.status_code == 401, response.text

    failures = try_all(description, GenerationMode.POSITIVE, 15, check)
    assert not failures, "\n\n".join(failures)
