"""Answers for programs, from the running service and its demo model, which would rather talk: JSON all
the same. Most of it through OpenAI's own SDK."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field

from ai_core_service import QUESTIONS, Server, wait_until

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTIONS[2]}]
LONG_ENOUGH = 600


class Kind(StrEnum):
    CDI = "cdi"
    CDD = "cdd"


class Party(BaseModel):
    name: str = Field(max_length=12)
    city: str | None = Field(max_length=8)


class Contract(BaseModel):
    """What a program might want to know of a contract."""

    kind: Kind
    hours: int = Field(ge=1, le=60)
    paid: bool
    parties: list[Party] = Field(min_length=1, max_length=2)


FORM: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "contract",
        "schema": {
            "type": "object",
            "properties": {
                "titre": {"type": "string", "maxLength": 20},
                "durée": {"type": "integer", "minimum": 0, "maximum": 99},
                "mots": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 3},
            },
            "required": ["titre", "durée", "mots"],
            "additionalProperties": False,
        },
    },
}
SCHEMA: dict[str, Any] = FORM["json_schema"]["schema"]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


# --- JSON ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_the_sdk_parses_answers_into_a_pydantic_model(client: openai.OpenAI, temperature: float) -> None:
    for seed in range(5):
        answer = client.chat.completions.parse(
            model="neo-demo",
            messages=MESSAGES,
            response_format=Contract,
            temperature=temperature,
            seed=seed,
            max_tokens=LONG_ENOUGH,
        )
        contract = answer.choices[0].message.parsed
        assert isinstance(contract, Contract)
        assert answer.choices[0].finish_reason == "stop"


def test_the_sdk_streams_and_parses(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="neo-demo", messages=MESSAGES, response_format=Contract, max_tokens=LONG_ENOUGH
    ) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert len(pieces) > 3
    assert isinstance(final.choices[0].message.parsed, Contract)


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/generate"])
def test_our_own_routes_take_the_same_forms(server: Server, path: str) -> None:
    body = {"prompt": QUESTIONS[2], "response_format": FORM, "max_tokens": LONG_ENOUGH}
    answer = server.post(path, body).json()
    jsonschema.validate(json.loads(answer["response"]), SCHEMA)
    with server.stream(body | {"stream": True}, path) as events:
        text = "".join(event.get("delta", "") for event in events)
    jsonschema.validate(json.loads(text), SCHEMA)


def test_json_mode_gives_an_object_or_says_that_it_was_cut(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="neo-demo",
        messages=MESSAGES,
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=LONG_ENOUGH,
    )
    text, reason = answer.choices[0].message.content or "", answer.choices[0].finish_reason
    assert text.startswith("{")
    if reason == "stop":
        assert isinstance(json.loads(text), dict)
    else:
        assert reason == "length"


def test_an_answer_that_is_cut_says_length(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="neo-demo",
        messages=MESSAGES,
        response_format=FORM,
        max_tokens=3,
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_a_grammar_decides_what_is_said(server: Server) -> None:
    grammar = 'root ::= ("oui" | "non") ", " [0-9]{2} " heures"'
    for seed in range(5):
        answer = server.say(QUESTIONS[2], grammar=grammar, temperature=1.5, seed=seed)
        assert re.fullmatch("(oui|non), [0-9]{2} heures", answer["response"])
        assert answer["finish_reason"] == "stop"


def test_a_stop_string_ends_an_answer_under_a_grammar_too(server: Server) -> None:
    answer = server.say(QUESTIONS[2], grammar='root ::= "un deux trois"', stop="deux")
    assert (answer["response"], answer["finish_reason"]) == ("un ", "stop")


def test_the_same_seed_gives_the_same_json(server: Server) -> None:
    options = {"response_format": FORM, "temperature": 1.5, "seed": 5, "cache": "never"}
    assert len({server.say(QUESTIONS[2], **options)["response"] for _ in range(3)}) == 1


# --- what cannot be --------------------------------------------------------------------------------------


def with_schema(schema: Any) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return {"prompt": "x", "response_format": form}


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (
            with_schema({"properties": {"a": {"not": {}}}}),
            "response_format",
            "at /properties/a: the keyword 'not'",
        ),
        (
            with_schema({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}),
            "response_format",
            "could never end",
        ),
        (with_schema({"type": "string", "minLength": 3, "maxLength": 1}), "response_format", "minLength (3)"),
        (with_schema({"type": "object", "minimum": "x"}), "response_format", "'minimum' must be a number"),
        ({"prompt": "x", "grammar": "root ::= a"}, "grammar", "line 1: no rule is named 'a'"),
        ({"prompt": "x", "grammar": 'root ::= "a" root'}, "grammar", "never ends"),
        ({"prompt": "x", "grammar": 'root ::= "a"', "ignore_eos": True}, "ignore_eos", "cannot be used"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_field_and_place(
    server: Server, body: dict[str, Any], field: str, reason: str
) -> None:
    response = server.post("/api/v1/chat", body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == field
    assert reason in error["message"]


def test_the_sdk_raises_for_a_schema_that_cannot_be(client: openai.OpenAI) -> None:
    form = with_schema({"uniqueItems": True})["response_format"]
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="neo-demo", messages=MESSAGES, response_format=form)
    assert (refused.value.param, refused.value.code) == ("response_format", "invalid_json_schema")


CHAIN = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(1_900)}
DEADLY = [
    {"$defs": {**CHAIN, "d1900": {}}, "$ref": "#/$defs/d0"},
    {"allOf": [{"type": "string", "pattern": f"a{{{number}}}"} for number in range(100)]},
    {"type": "object", "properties": {f"p{number}": {} for number in range(3_000)}},
    {"enum": [f"value {number}" for number in range(10_000)]},
]


def test_whatever_schemas_come_streams_go_on_and_the_engine_lives(server: Server) -> None:
    engine = server.engine_pid()
    statuses: list[int] = []

    def ask() -> None:
        bodies = [with_schema(schema) | {"max_tokens": 5} for schema in DEADLY]
        statuses.extend(server.post("/api/v1/chat", body).status_code for body in bodies)

    endless = {"prompt": QUESTIONS[0], "stream": True, "ignore_eos": True, "max_tokens": 100_000}
    meanwhile = 0
    with server.stream(endless) as events:
        next(events)
        asking = threading.Thread(target=ask)
        asking.start()
        for _ in events:
            meanwhile += 1
            if not asking.is_alive():
                break
        asking.join()
    assert statuses == [400, 400, 400, 200]
    assert meanwhile > len(DEADLY)
    assert server.engine_pid() == engine


# --- log probabilities -----------------------------------------------------------------------------------


def test_log_probabilities_come_with_the_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="neo-demo", messages=MESSAGES, temperature=0, logprobs=True, top_logprobs=3
    )
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    entries = choice.logprobs.content
    assert b"".join(bytes(entry.bytes or ()) for entry in entries).decode() == choice.message.content
    for entry in entries:
        # Greedy: what was said is what was likeliest.
        assert entry.logprob == entry.top_logprobs[0].logprob <= 0
        assert sum(math.exp(other.logprob) for other in entry.top_logprobs) <= 1.0001
    assert answer.usage is not None
    assert answer.usage.completion_tokens in {len(entries), len(entries) + 1}


def test_streamed_log_probabilities_are_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model="neo-demo", messages=MESSAGES, temperature=0, logprobs=True, top_logprobs=1
    )
    chunks = client.chat.completions.create(
        model="neo-demo", messages=MESSAGES, temperature=0, logprobs=True, top_logprobs=1, stream=True
    )
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    streamed = [entry for choice in choices if choice.logprobs for entry in choice.logprobs.content or ()]
    assert whole.choices[0].logprobs is not None
    expected = whole.choices[0].logprobs.content or []
    assert [entry.token for entry in streamed] == [entry.token for entry in expected]
    assert [entry.logprob for entry in streamed] == pytest.approx([e.logprob for e in expected], abs=0.1)


def test_a_stop_string_takes_its_log_probabilities_with_it(client: openai.OpenAI) -> None:
    free = client.chat.completions.create(model="neo-demo", messages=MESSAGES, temperature=0)
    stop = (free.choices[0].message.content or "").split(" ")[4]
    answer = client.chat.completions.create(
        model="neo-demo", messages=MESSAGES, temperature=0, logprobs=True, stop=stop
    )
    choice = answer.choices[0]
    text = choice.message.content or ""
    assert choice.logprobs is not None
    tokens = [bytes(entry.bytes or ()) for entry in choice.logprobs.content or ()]
    # The last one may go on into the stop string.
    assert b"".join(tokens).startswith(text.encode())
    assert len(b"".join(tokens[:-1])) < len(text.encode())


# --- several choices, and the older route ------------------------------------------------------------------


def test_choices_differ_by_their_seeds_and_the_prompt_counts_once(client: openai.OpenAI) -> None:
    def ask(n: int, seed: int) -> tuple[list[str], int]:
        answer = client.chat.completions.create(
            model="neo-demo",
            messages=[{"role": "user", "content": "zwxq 7!"}],
            temperature=2,
            n=n,
            seed=seed,
            max_tokens=20,
        )
        assert [choice.index for choice in answer.choices] == list(range(n))
        assert answer.usage is not None
        return [choice.message.content or "" for choice in answer.choices], answer.usage.prompt_tokens

    together, prompt_tokens = ask(4, 30)
    assert len(set(together)) > 1
    assert ask(1, 30)[1] == prompt_tokens


def test_a_stream_of_choices_under_a_schema(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(
        model="neo-demo",
        messages=MESSAGES,
        response_format=FORM,
        n=3,
        seed=1,
        temperature=1.2,
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=LONG_ENOUGH,
    )
    said = ["", "", ""]
    ends = 0
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
            ends += choice.finish_reason == "stop"
    assert ends == 3
    for text in said:
        jsonschema.validate(json.loads(text), SCHEMA)


def test_a_prompt_of_which_several_answers_are_wanted_is_computed_once(server: Server) -> None:
    shared = server.metric("neo_prefix_cache_hits_total")
    body = {
        "messages": [{"role": "user", "content": "Un texte assez long pour être partagé. " * 20}],
        "n": 4,
        "max_tokens": 2,
        "temperature": 1,
    }
    usage = server.post("/v1/chat/completions", body).json()["usage"]
    assert usage["prompt_tokens"] > 100
    assert usage["completion_tokens"] == 8
    wait_until(
        lambda: server.metric("neo_prefix_cache_hits_total") - shared > 2 * usage["prompt_tokens"],
        "three of four choices share the prompt",
    )


def test_the_older_route_continues_texts(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="neo-demo",
        prompt=["Le contrat de travail", "The employment contract"],
        temperature=0,
        max_tokens=8,
        n=2,
        logprobs=2,
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text == answer.choices[1].text != answer.choices[2].text
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens is not None
    assert "".join(found.tokens) == answer.choices[0].text
    assert found.text_offset is not None
    assert found.text_offset[0] == 0
    assert found.top_logprobs is not None
    assert all(len(likely) in {2, 3} for likely in found.top_logprobs)
    assert answer.usage is not None
    tokens = [choice.logprobs.tokens or [] for choice in answer.choices if choice.logprobs]
    assert answer.usage.completion_tokens == sum(len(several) for several in tokens)


def test_the_older_route_streams(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="neo-demo", prompt="Le contrat", temperature=0, max_tokens=8)
    stream = client.completions.create(
        model="neo-demo", prompt="Le contrat", temperature=0, max_tokens=8, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text
