"""Nothing in a JSON schema is ignored: it is supported, or refused by name and place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiling import byte_tokenizer
from ai_core.engine.constraints.judging import judge
from ai_core.engine.messages import Grammar

TOKENIZER = byte_tokenizer()
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "boss": {"$ref": "#"}},
    "required": ["name"],
    "additionalProperties": False,
}


def verdict(schema: Any) -> str:
    """What is said about a schema; empty if it can be used."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    try:
        judge(TOKENIZER, Grammar("json_schema", text))
    except BadGrammar as error:
        return str(error)
    return ""


def inside(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"list": {"type": "array", "items": schema}}}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        PERSON,
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer", "minimum": 3},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x", "type": "null"},
        {"$defs": {"a/b": {"type": "string"}}, "items": {"$ref": "#/$defs/a~1b"}, "type": "array"},
        {"definitions": {"n": {"enum": [1, None]}}, "$ref": "#/definitions/n"},
        {"title": "T", "description": "d", "default": {"not": 1}, "examples": [1], "deprecated": True},
        {"type": ["string", "null"], "pattern": "^[a-z]+$"},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [{"type": "object"}, {"required": ["a"]}]},
        {"type": "string", "format": "date-time"},
        {"enum": [f"value {number}" for number in range(10_000)]},
    ],
)
def test_these_can_be_used(schema: Any) -> None:
    assert verdict(schema) == ""


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"not": {}}, "at the top of the schema: the keyword 'not' is not supported"),
        (inside({"uniqueItems": True}), "at /properties/list/items: the keyword 'uniqueItems'"),
        ({"$defs": {"a": {"if": {}}}}, "at /$defs/a: the keyword 'if'"),
        ({"anyOf": [{}, {"unevaluatedProperties": False}]}, "at /anyOf/1: the keyword"),
        ({"x-guidance": {"lenient": True}}, "the keyword 'x-guidance'"),
        ({"type": "strnig"}, "'type' must be one of"),
        (inside({"type": "string", "format": "regex"}), "at /properties/list/items: 'format' must be one of"),
        ({"enum": []}, "'enum' must be a list"),
        ({"anyOf": []}, "'anyOf' must be a list"),
        ({"minLength": -1}, "'minLength' must be a whole number"),
        ({"maxItems": 10**9}, "'maxItems' must be at most"),
        ({"minimum": "3"}, "'minimum' must be a number"),
        ({"multipleOf": 0}, "'multipleOf' must be greater"),
        ({"properties": []}, "'properties' must be an object"),
        ({"items": [{}]}, "'items' must be a schema"),
        ({"required": [1]}, "'required' must be a list of strings"),
        ({"minProperties": 3}, "'minProperties' is supported up to"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "'$schema' must be draft"),
        ({"$ref": "http://example.org/x"}, "points outside of this schema"),
        (
            inside({"$ref": "#/$defs/none"}),
            "at /properties/list/items: $ref '#/$defs/none' points at nothing",
        ),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "minLength (3) is greater than maxLength (2)"),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.8}, "contains no integer"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "incompatible types"),
        (False, "Unsatisfiable"),
        (
            {"type": "object", "required": ["a"], "additionalProperties": False},
            "required property 'a' is unsatisfiable",
        ),
        (inside({"oneOf": [{"type": "string"}, {"maxLength": 3}]}), "at /properties/list/items: 'oneOf'"),
        (inside({"type": "string", "pattern": "("}), "at /properties/list/items: regex parse error"),
        (inside({"type": "string", "pattern": "(?=a)"}), "look-around"),
        ("{", "no JSON text"),
        ("[]", "must be an object or a boolean"),
        ("[" * 100_000, "no JSON text"),
    ],
)
def test_these_are_refused_with_their_place(schema: Any, reason: str) -> None:
    assert reason in verdict(schema)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"$ref": "#"}, "the top of the schema"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "the top of the schema"),
        ({"type": "array", "minItems": 1, "items": {"$ref": "#"}}, "the top of the schema"),
        ({"type": "array", "minItems": 1, "prefixItems": [{"$ref": "#"}]}, "the top of the schema"),
        (
            {
                "$defs": {"n": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/n"}}},
                "anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}],
            },
            "/$defs/n",
        ),
    ],
)
def test_what_could_be_begun_and_never_ended_is_refused(schema: Any, place: str) -> None:
    assert f"at {place}: an answer could never end" in verdict(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"$ref": "#"}},
        {"type": ["object", "null"], "required": ["next"], "properties": {"next": {"$ref": "#"}}},
        {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 2, "items": {"$ref": "#"}}]},
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
    ],
)
def test_recursion_that_can_end_is_no_mistake(schema: Any) -> None:
    assert verdict(schema) == ""


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"enum": list(range(20_000))}, "more than 10000 values"),
        ({"properties": {f"p{number}": {} for number in range(500)}}, "200 properties are optional"),
        ({"anyOf": [{"const": number} for number in range(3_000)]}, "more than 2000 schemas"),
        (
            {"anyOf": [{"type": "array", "items": {"const": n}, "minItems": n % 7} for n in range(900)]},
            "too complex",
        ),
        ({"description": "d" * 1_000_000}, "more than 524288 characters"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_compiled(schema: Any, reason: str) -> None:
    assert reason in verdict(schema)


def test_a_schema_nested_too_deep_is_refused() -> None:
    schema: Any = {}
    for _ in range(90):
        schema = {"type": "array", "items": schema}
    assert "nested more than" in verdict(schema)
