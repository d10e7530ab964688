"""Our requests in OpenAI's form: https://platform.openai.com/docs/api-reference/chat/create. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ai_core.engine.messages import ChatMessage, Submit, ToolCall
from ai_core.engine_client.remote.dialect import Dialect, Extra, Facts
from ai_core.errors import InvalidRequest

CHAT, TEXT, VECTORS = "/chat/completions", "/completions", "/embeddings"
BYTES_PER_TOKEN = 4


def path_of(request: Submit) -> str:
    """Where it goes, after the server's ``url``."""
    if request.inputs is not None:
        return VECTORS
    return TEXT if request.messages is None else CHAT


def body_of(request: Submit, model: str, facts: Facts) -> dict[str, Any]:
    """What is sent.

    Raises:
        InvalidRequest: it asks for something that this server is not known to honour; with the parameter.
    """
    if request.inputs is not None:
        body: dict[str, Any] = {"model": model, "input": request.inputs, "encoding_format": "float"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        return body
    if request.adapter:
        raise _unsupported("adapter", "(name the adapter's own model there in the models file)")
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        facts.dialect.bound: _room(request, facts),
        **_sampling(request, facts.dialect),
    }
    if request.stop:
        body["stop"] = request.stop
    if request.messages is None:
        return body | {"prompt": request.prompt} | _form_of_text(request, facts.dialect)
    return body | _chat(request, facts.dialect)


def estimated_prompt_tokens(request: Submit) -> int:
    """Until the server has counted."""
    texts = [request.prompt or ""]
    texts += [message.content for message in request.messages or ()]
    texts += [one for one in request.inputs or () if isinstance(one, str)]
    ids = sum(len(one) for one in request.inputs or () if not isinstance(one, str))
    return ids + sum(-(-len(text.encode()) // BYTES_PER_TOKEN) for text in texts)


def _room(request: Submit, facts: Facts) -> int:
    """Servers refuse more than fits, where here the context ends an answer. So no more is asked for than
    fits by all that is known; the estimate of the prompt is a cautious one."""
    if not facts.context_length:
        return request.max_tokens
    left = facts.context_length - estimated_prompt_tokens(request) * 4 // 3
    return max(min(request.max_tokens, left), 1)


def _sampling(request: Submit, dialect: Dialect) -> dict[str, Any]:
    sampling = request.sampling
    body: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.presence_penalty:
        body["presence_penalty"] = sampling.presence_penalty
    if sampling.frequency_penalty:
        body["frequency_penalty"] = sampling.frequency_penalty
    wanted: list[tuple[Extra, Any, bool]] = [
        ("top_k", sampling.top_k, sampling.top_k != 0),
        ("min_p", sampling.min_p, sampling.min_p != 0),
        ("repeat_penalty", sampling.repeat_penalty, sampling.repeat_penalty != 1),
        ("seed", sampling.seed, sampling.seed is not None),
        (
            "logit_bias",
            {str(token): bias for token, bias in sampling.logit_bias.items()},
            bool(sampling.logit_bias),
        ),
        ("ignore_eos", True, sampling.ignore_eos),
    ]
    return body | {_name_of(field, dialect): value for field, value, asked in wanted if asked}


def _chat(request: Submit, dialect: Dialect) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [_message(one) for one in request.messages or ()]}
    if request.logprobs is not None:
        _name_of("logprobs", dialect)
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if dialect.asks_for_thoughts:
        body["reasoning"] = True
    if request.chat.reasoning_effort:
        body["reasoning_effort"] = request.chat.reasoning_effort
    if request.chat.template_options:
        body[_name_of("chat_template_kwargs", dialect)] = request.chat.template_options
    body |= dict(_tools(request, dialect))
    return body | _form_of_chat(request, dialect)


def _tools(request: Submit, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    chat = request.chat
    if not chat.tools:
        return
    functions = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        | ({"strict": True} if tool.strict else {})
        for tool in chat.tools
    ]
    yield "tools", [{"type": "function", "function": function} for function in functions]
    if chat.forced_tool:
        yield _name_of("tool_choice", dialect), {"type": "function", "function": {"name": chat.forced_tool}}
    elif chat.tool_choice == "required":
        yield _name_of("tool_choice", dialect), "required"
    if not chat.parallel_tool_calls:
        yield _name_of("parallel_tool_calls", dialect), False


def _form_of_chat(request: Submit, dialect: Dialect) -> dict[str, Any]:
    grammar = request.grammar
    if grammar is None:
        return {}
    if grammar.kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if grammar.kind == "json_schema":
        form = {"name": "answer", "strict": True, "schema": json.loads(grammar.text)}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    return {_name_of("grammar", dialect): grammar.text}


def _form_of_text(request: Submit, dialect: Dialect) -> dict[str, Any]:
    """A raw prompt has no form in OpenAI's API, and its log probabilities are told in another one."""
    if request.logprobs is not None:
        raise _unsupported("logprobs", "with a raw prompt")
    if request.grammar is None:
        return {}
    if request.grammar.kind != "gbnf":
        raise _unsupported("response_format", "with a raw prompt")
    return {_name_of("grammar", dialect): request.grammar.text}


def _message(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    if message.name:
        body["name"] = message.name
    if message.reasoning:
        body["reasoning_content"] = message.reasoning
    return body


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _name_of(field: Extra, dialect: Dialect) -> str:
    name = dialect.names.get(field)
    if name is None:
        raise _unsupported(field, f"(it speaks the API of '{dialect.name}')")
    return name


def _unsupported(field: str, where: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{field}' cannot be used with this remote model: its server is not known to honour it {where}.",
        code="invalid_parameter",
        parameter=field,
    )
