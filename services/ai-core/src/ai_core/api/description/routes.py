"""What each route is for, what it takes and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from ai_core.api.description import answer_shapes as answers
from ai_core.api.description import operations_shapes as operations

STREAM = "text/event-stream"
BODY_ERRORS = (408, 413, 415)
MODEL_ERRORS = (404, 429, 504)
NATIVE_STREAM = 'data: {"delta":"Bonjour"}\n\ndata: {"delta":" !"}\n\ndata: {"response":"Bonjour !", …}\n\n'
OPENAI_STREAM = 'data: {"id":"chatcmpl-5f2c","object":"chat.completion.chunk", …}\n\ndata: [DONE]\n\n'
PULL_STREAM = (
    'data: {"name":"mistral-7b-instruct","status":"planned","choice":"…","total":4300000000, …}\n\n'
    'data: {"name":"mistral-7b-instruct","status":"downloading","completed":1048576, …}\n\n'
    'data: {"name":"mistral-7b-instruct","status":"done", …}\n\n'
)
Examples = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteText:
    """``examples``: bodies by what they show. ``stream``: the beginning of one, where there are streams."""

    text: str
    answer: type[BaseModel] | None = None
    status: int = 200
    stream: str | None = None
    examples: Examples = field(default_factory=lambda: MappingProxyType({}))
    errors: tuple[int, ...] = ()
    other: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Examples of answers that are no JSON, by their media type."""
    also: Mapping[int, type[BaseModel]] = field(default_factory=lambda: MappingProxyType({}))
    """Shapes of answers with another status that are no errors."""


_SYSTEM = {"role": "system", "content": "Réponds brièvement."}
_QUESTION = {"role": "user", "content": "Qu'est-ce qu'un CDI ?"}
_RECIPE = {
    "type": "object",
    "properties": {"jours": {"type": "integer"}},
    "required": ["jours"],
    "additionalProperties": False,
}
_LINE = {"custom_id": "1", "method": "POST", "url": "/api/v1/chat", "body": {"prompt": "Bonjour !"}}

MODELS: dict[str, RouteText] = {
    "POST /api/v1/chat": RouteText(
        text="Answers a conversation. 'prompt', with 'context' for what was said before, means the same as "
        "'messages'.",
        answer=answers.NativeAnswer,
        stream=NATIVE_STREAM,
        examples={
            "a conversation": {"messages": [_SYSTEM, _QUESTION], "max_tokens": 200},
            "the short form": {"prompt": "Bonjour !"},
            "a session": {"prompt": "Et combien de jours ?", "session_id": "visite-42"},
            "a mail": {
                "prompt": "Combien de jours de congés ai-je ?",
                "email_context": {"subject": "Congés payés", "sender": "claire@example.com"},
            },
        },
        errors=(*BODY_ERRORS, *MODEL_ERRORS, 409),
    ),
    "POST /api/v1/generate": RouteText(
        text="Continues 'prompt' as it stands, without the model's chat template. With 'system' or "
        "'email_context' it becomes a chat.",
        answer=answers.NativeAnswer,
        stream=NATIVE_STREAM,
        examples={"a text": {"prompt": "Le contrat de travail", "max_tokens": 20}},
        errors=(*BODY_ERRORS, *MODEL_ERRORS),
    ),
    "POST /v1/chat/completions": RouteText(
        text="OpenAI's request, answer, chunks and errors. Parameters are honoured or refused.",
        answer=answers.ChatCompletion,
        stream=OPENAI_STREAM,
        examples={
            "a conversation": {"model": "neo-demo", "messages": [_SYSTEM, _QUESTION]},
            "structured": {
                "model": "neo-demo",
                "messages": [_QUESTION],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "conges", "schema": _RECIPE},
                },
            },
        },
        errors=(*BODY_ERRORS, *MODEL_ERRORS),
    ),
    "POST /v1/completions": RouteText(
        text="OpenAI's older form: texts to be continued, without the chat template.",
        answer=answers.TextCompletion,
        stream=OPENAI_STREAM,
        examples={"a text": {"model": "neo-demo", "prompt": "Le contrat de travail", "max_tokens": 20}},
        errors=(*BODY_ERRORS, *MODEL_ERRORS),
    ),
    "POST /v1/embeddings": RouteText(
        text="Turns texts into vectors of length 1, with a model that makes embeddings.",
        answer=answers.EmbeddingList,
        examples={"two texts": {"model": "neo-embed", "input": ["congés payés", "paid leave"]}},
        errors=(*BODY_ERRORS, *MODEL_ERRORS),
    ),
    "POST /v1/audio/transcriptions": RouteText(
        text="Turns speech into text, through the server of TRANSCRIPTION_URL; 501 where there is none. JSON "
        "answers have that server's fields, 'text' among them.",
        answer=answers.Transcription,
        other={
            "text/plain": "Bonjour.\n",
            "text/vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nBonjour.\n",
            "application/x-subrip": "1\n00:00:00,000 --> 00:00:01,000\nBonjour.\n",
        },
        errors=(*BODY_ERRORS, *MODEL_ERRORS, 501, 502),
    ),
    "GET /api/v1/sessions": RouteText(
        text="The conversations that the server keeps for this key, the newest first.",
        answer=answers.SessionList,
    ),
    "GET /api/v1/sessions/{session_id}": RouteText(
        text="One conversation, with what was said.", answer=answers.Session, errors=(404,)
    ),
    "DELETE /api/v1/sessions/{session_id}": RouteText(
        text="Forgets a conversation.", status=204, errors=(404, 409)
    ),
    "POST /api/v1/batches": RouteText(
        text="Takes up to 10,000 requests, one JSON object per line, each with a 'custom_id' of its own. "
        "They are answered when there is time, survive a restart, and are neither lost nor repeated.",
        answer=answers.Batch,
        status=201,
        examples={"one line": _LINE},
        errors=(*BODY_ERRORS, 404),
    ),
    "GET /api/v1/batches": RouteText(
        text="The batches of this key, the newest first.", answer=answers.BatchList
    ),
    "GET /api/v1/batches/{batch_id}": RouteText(
        text="One batch and its progress.", answer=answers.Batch, errors=(404,)
    ),
    "GET /api/v1/batches/{batch_id}/results": RouteText(
        text="The results so far, one JSON object per line in the order of the input: 'custom_id', and "
        "'response' or 'error'.",
        other={"application/jsonl": '{"custom_id": "1", …}\n'},
        errors=(404,),
    ),
    "POST /api/v1/batches/{batch_id}/cancel": RouteText(
        text="Ends a batch; the results that are there stay.", answer=answers.Batch, errors=(404,)
    ),
    "DELETE /api/v1/batches/{batch_id}": RouteText(
        text="Forgets a batch, its requests and its results.", answer=answers.BatchDeleted, errors=(404, 409)
    ),
    "GET /v1/models": RouteText(
        text="The models that the key may use, aliases included, in OpenAI's form.",
        answer=answers.OpenAIModelList,
    ),
    "GET /v1/models/{name}": RouteText(
        text="One model in OpenAI's form; the name may hold slashes.",
        answer=answers.OpenAIModel,
        errors=(404,),
    ),
}
OPERATORS: dict[str, RouteText] = {
    "GET /api/v1/models": RouteText(
        text="The models that the key may use, with the state of their engines.", answer=operations.ModelList
    ),
    "GET /api/v1/models/{name}": RouteText(
        text="Everything about one model: how it is configured, what computes it and why, what its files "
        "say, what it holds. 'path', 'upstream_url' and 'system_prompt' are told to the scope 'admin' only.",
        answer=operations.ModelDetails,
        errors=(404,),
    ),
    "POST /api/v1/admin/models/reload": RouteText(
        text="Reads the models file again, as SIGHUP does. Models that are the same go on; others finish the "
        "requests they have. A file with a mistake is a 400 that names its line, and changes nothing.",
        answer=operations.ModelChanges,
    ),
    "POST /api/v1/models/load": RouteText(
        text="Puts a model into memory, and others out of it if need be. Answers when it is resident, or at "
        "once where 'wait' is false. A model that is there stays as it is.",
        answer=operations.ResidencyFacts,
        examples={"a model": {"model": "neo-demo"}, "for ever": {"model": "neo-demo", "keep_alive": -1}},
        errors=(*BODY_ERRORS, 404, 504),
    ),
    "POST /api/v1/models/unload": RouteText(
        text="Puts a model out of memory once its answers under way are given. Who comes meanwhile waits, "
        "and loads it again. A model that is not there stays as it is.",
        answer=operations.ResidencyFacts,
        examples={"a model": {"model": "neo-demo"}, "at once": {"model": "neo-demo", "force": True}},
        errors=(*BODY_ERRORS, 404, 409),
    ),
    "GET /api/v1/models/{name}/adapters": RouteText(
        text="The LoRA adapters that requests to a model may name.",
        answer=operations.AdapterList,
        errors=(404,),
    ),
    "POST /api/v1/models/{name}/adapters": RouteText(
        text="Makes a LoRA adapter known, until the server ends: a GGUF file, or a folder of PEFT's. Where "
        "the model is in memory, the adapter is loaded at once.",
        answer=operations.AdapterFacts,
        status=201,
        examples={"an adapter": {"name": "lettre", "path": "adapters/lettre.gguf"}},
        errors=(*BODY_ERRORS, 404),
    ),
    "DELETE /api/v1/models/{name}/adapters/{adapter}": RouteText(
        text="Forgets a LoRA adapter, and all that was computed with it. One that is in use is a 409.",
        answer=operations.AdapterList,
        errors=(404, 409),
    ),
    "DELETE /api/v1/models/{name}": RouteText(
        text="Deletes the files of a model that was fetched or quantized here, as far as no other model "
        "needs them. Not while it is in memory. It stays listed.",
        answer=operations.ModelRemoved,
        errors=(404, 409, 501),
    ),
    "POST /api/v1/models/pull": RouteText(
        text="Fetches a model from the hub, or goes on where it stopped. Events tell how far it is; the last "
        "one has the status 'done', or is an error. Who asks for a model that is being fetched joins; when "
        "nobody follows any more, it stops, and what has come is kept.",
        stream=PULL_STREAM,
        examples={"a model of the models file": {"name": "mistral-7b-instruct"}},
        errors=(*BODY_ERRORS, 404, 501, 502, 507),
    ),
    "GET /api/v1/health": RouteText(
        text="The state of models, engines, database and Redis. 'degraded' is a 200: requests are answered. "
        "503, with the same body, only where nothing can be answered.",
        answer=operations.Health,
        also={503: operations.Health},
    ),
    "GET /livez": RouteText(text="200 while this process answers at all. No key.", answer=operations.Alive),
    "GET /readyz": RouteText(
        text="200 while requests are taken, also when a model is still loading: they wait for it. No key.",
        answer=operations.Readiness,
        errors=(503,),
    ),
    "GET /api/v1/metrics": RouteText(
        text="Metrics in Prometheus' text format.",
        other={"text/plain": 'neo_requests_total{route="/api/v1/chat",status="200"} 12.0\n'},
    ),
    "POST /api/v1/admin/keys": RouteText(
        text="Makes a key. The answer is the only place where its secret is ever shown.",
        answer=operations.IssuedKeyFacts,
        status=201,
        examples={"for a program": {"name": "intranet", "scopes": ["generate"], "tokens_per_day": 500_000}},
        errors=BODY_ERRORS,
    ),
    "GET /api/v1/admin/keys": RouteText(text="All keys, revoked ones included.", answer=operations.KeyList),
    "GET /api/v1/admin/keys/{key_id}": RouteText(text="One key.", answer=operations.KeyFacts, errors=(404,)),
    "DELETE /api/v1/admin/keys/{key_id}": RouteText(
        text="Revokes a key, at once and on every replica. It stays in the list.",
        answer=operations.KeyFacts,
        errors=(404,),
    ),
    "POST /api/v1/admin/keys/{key_id}/rotate": RouteText(
        text="Gives a key a new secret; the old one may go on working for a while.",
        answer=operations.IssuedKeyFacts,
        examples={"an hour for both": {"grace_seconds": 3600}, "at once": {}},
        errors=(404, *BODY_ERRORS),
    ),
    "GET /api/v1/usage": RouteText(
        text="What a key has used, by day (UTC) and model.", answer=operations.UsageReport, errors=(404,)
    ),
}
ROUTES: dict[str, RouteText] = MODELS | OPERATORS
SHAPES: tuple[type[BaseModel], ...] = (
    answers.ErrorBody,
    *{text.answer for text in ROUTES.values() if text.answer is not None},
)

ERRORS: dict[int, str] = {
    400: "The request can never succeed as it stands; 'param' names the field.",
    401: "No API key, or none that is valid (any more).",
    403: "The key does not have the scope, or may not be used from this address.",
    404: "There is no such model, key or thing, or not for this key.",
    408: "The body did not arrive in time.",
    409: "The conversation is being continued by another request, or the model is in use.",
    413: "The body is too large.",
    415: "The body is declared as something else than what is taken here.",
    429: "The key's limit is reached, or all places of the model are taken: come back after Retry-After.",
    500: "This answer failed, or the server made a mistake.",
    501: "The operator has not switched this on.",
    502: "The server that this needs answered with nonsense.",
    503: "The engine, the database or the server itself cannot serve this now: come back after Retry-After.",
    504: "The request waited longer than its deadline allows.",
    507: "The disk of this server has no room for what was asked for.",
}
ERROR_EXAMPLES: dict[int, tuple[str, str, str | None]] = {
    400: ("invalid_value", "'temperature' should be less than or equal to 2.", "temperature"),
    401: ("invalid_api_key", "The API key is not valid. Check that it was copied as a whole.", None),
    403: (
        "insufficient_scope",
        "This API key does not have the scope 'generate', which is needed here.",
        None,
    ),
    404: ("model_not_found", "There is no model 'neo'. There are: neo-demo.", "model"),
    408: ("body_too_slow", "The body did not arrive within 60 seconds.", None),
    409: ("session_busy", "Another request to this conversation is still being answered.", "session_id"),
    413: ("body_too_large", "The body is larger than 2097152 bytes, the limit of this server.", None),
    415: (
        "unsupported_media_type",
        "Send the body as JSON, with the header 'Content-Type: application/json'.",
        None,
    ),
    429: ("rate_limit_exceeded", "This API key may send 60 requests a minute. Try again in 3 seconds.", None),
    500: ("generation_failed", "The answer broke off. Try again.", None),
    501: ("not_configured", "The operator has not switched this on.", None),
    502: ("upstream_error", "The server that this needs answered with nonsense.", None),
    503: ("engine_unavailable", "The model is being loaded. Try again soon.", None),
    504: ("deadline_exceeded", "The request waited longer than its timeout allows.", None),
    507: ("disk_full", "4.3 GB are still to come, and the disk has 1.0 GB free.", None),
}
"""A code, a message and the field concerned."""
KEYED_ERRORS = (400, 401, 403, 429, 500, 503)
"""Of every route that needs a key."""
OPEN_ERRORS = (400, 500)

PARAMETERS: dict[str, tuple[str, Any]] = {
    "name": ("Name or alias of a model.", "neo-demo"),
    "adapter": ("Name of a LoRA adapter.", "lettre"),
    "key_id": ("The id in the middle of a key.", "k3y5f0rd0c"),
    "session_id": ("The conversation's id.", "visite-42"),
    "batch_id": ("The batch's id.", "batch_5f2c"),
    "from": ("The first day (UTC); 30 days before 'to' by default.", "2026-01-02"),
    "to": ("The last day (UTC); today by default.", "2026-01-31"),
    "limit": ("At most so many entries.", 20),
}
REQUEST_HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id of yours for this request: up to 128 printable characters. It is returned and "
        "stands in the server's log.",
        "schema": {"type": "string", "examples": ["order-4711"]},
    },
    "X-Request-Timeout": {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "How long you are ready to wait for the first token, in seconds, up to 3600.",
        "schema": {
            "type": "string",
            "pattern": "^[1-9][0-9]{0,2}([.][0-9]{1,3})?$",
            "examples": ["30"],
        },
    },
}
"""What every route takes that needs a key."""
TAGS: dict[str, str] = {
    "native": "Our own routes.",
    "OpenAI": "What works with OpenAI's client libraries works here.",
    "batches": "Many requests at once, answered when there is time.",
    "operations": "For operators, probes and dashboards.",
    "administration": "API keys and what they have used.",
}
